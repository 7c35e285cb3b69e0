"""Where jobs run: profiles, run directories, Slurm through submitit, processes of this machine."""
