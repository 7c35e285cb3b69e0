# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
# Any other: make demo TORCH=torch, or TORCH='torch --index-url URL'
TORCH ?= torch==2.13.0
BANDS ?= g,r,i
# Size of the demo; CI runs it small: make demo MOCK_N=64 GAN_IMAGES=640 ...
MOCK_N ?= 1866
# Five minutes of two cores teach a small network more than a large one.
GAN_PRESET ?= tiny
GAN_IMAGES ?= 90000
GAN_MINUTES ?= 5.5
GALAXIES ?= 1000
EPOCHS ?= 15
TARGET ?= 8 < log_mass < 9 and photo_z < 0.15
CLUSTER ?= auto
# Processes that test, each on one core; the tests on a cluster, which mostly wait, run beside them, one after the other.
WORKERS ?= 2
SLURM_WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# pip compiles one file after the other, which takes longer than the installation: all cores do it at the end. (Without it,
# where PYTHONDONTWRITEBYTECODE is set, each start of Python would take half a minute.) Not every file of others compiles.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
COMPILE := $(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib >/dev/null 2>&1 || true
RUN := $(BIN)/python -m galaxycgan
SUBMIT := $(BIN)/python -m galaxycgan.submit

.PHONY: demo test test-slurm lint clean

# From survey files to a synthetic catalog. Typing it again goes on where it stopped, or says that it is done.
demo: $(VENV)/.demo
	@test -f data/HSC_ids.npy || $(RUN) mock --out data --n $(MOCK_N) --bands $(BANDS)
	@$(RUN) convert --bands $(BANDS)
	@$(SUBMIT) train_gan --cluster $(CLUSTER) --wait --preset $(GAN_PRESET) --images $(GAN_IMAGES) \
		--max-minutes $(GAN_MINUTES)
	@$(SUBMIT) generate --cluster $(CLUSTER) --wait --recipe catalogs/demo.toml --n $(GALAXIES)
	@$(SUBMIT) train_classifier --cluster $(CLUSTER) --wait --augment standard --epochs $(EPOCHS) \
		--target '$(TARGET)'
	@$(SUBMIT) evaluate --cluster $(CLUSTER) --wait
	@$(RUN) verify catalogs/survey.h5 catalogs/generated/demo/catalog.h5 catalogs/generated/demo/catalog.fits
	@echo
	@echo "Open these:"
	@echo "  catalogs/generated/demo/catalog.fits               the synthetic galaxies: TOPCAT, DS9, astropy, fitsio"
	@echo "  catalogs/generated/demo/catalog.h5                 the same as HDF5: galaxycgan info FILE"
	@echo "  runs/train_gan/evaluation/report.html              how near they are to real ones: pictures, goals, numbers"
	@echo "  runs/train_gan/evaluation/real_and_generated.png   real and generated galaxies with the same labels"
	@echo "  runs/train_gan/evaluation/grid.png                 one latent over redshift and stellar mass"
	@echo "  runs/train_gan/evaluation/metrics.json             the numbers of the report"
	@echo "  runs/train_classifier/classifier.png               the dwarf classifier's curves"

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p build
	@$(MAKE) --no-print-directory test-slurm SLURM_WORKERS=1 >build/test-slurm.log 2>&1 & cluster=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore-glob='*/test_slurm*' $(PYTEST); rest=$$?; \
	wait $$cluster; cluster=$$?; cat build/test-slurm.log; exit $$((rest || cluster))

# The tests on real Slurms that they bring up themselves, SLURM_WORKERS at a time: submission, arrays, pipelines, faults
# made on purpose. Longest file first.
test-slurm: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(SLURM_WORKERS) --dist loadfile --no-loadscope-reorder \
		tests/cluster/test_slurm_faults.py tests/cluster/test_slurm.py tests/cluster/test_slurm_guide.py

# The generator that comes with the package, from nothing. It learns from one mock and is judged on another.
PRETRAINED := build/pretrained
PRETRAINED_NOTE := learned from a mock survey (galaxycgan mock --seed 5 --n 27000), not from the sky
.PHONY: pretrained
pretrained: $(VENV)/.demo
	for survey in "5 27000" "2 4500"; do \
		set -- $$survey; \
		$(RUN) mock --out $(PRETRAINED)/mock$$1 --seed $$1 --n $$2 || exit; \
		$(RUN) convert --bands g,r,i --ids $(PRETRAINED)/mock$$1/HSC_ids.npy \
			--images $(PRETRAINED)/mock$$1/images.small.npy --table $(PRETRAINED)/mock$$1/2018_02_23-all_objects.csv \
			--out $(PRETRAINED)/survey$$1.h5 || exit; \
	done
	$(RUN) train_gan --store $(PRETRAINED)/survey5.h5 --run $(PRETRAINED)/run --images 250000 --threads 1 \
		--note '$(PRETRAINED_NOTE)'
	$(RUN) evaluate --real $(PRETRAINED)/survey2.h5 --gan $(PRETRAINED)/run
	cp $(PRETRAINED)/run/generator.safetensors $(PRETRAINED)/run/generator.json $(PRETRAINED)/run/trained_on.npy \
		$(PRETRAINED)/run/evaluation/metrics.json galaxycgan/models/pretrained/

# torch first and pinned: another package's wish for "torch" would pull gigabytes of CUDA.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(TORCH)
	@touch $@

$(VENV)/.demo: $(VENV)/.torch setup.py
	$(INSTALL) --editable '.[mock,plots]'
	@$(COMPILE)
	@touch $@

$(VENV)/.test: $(VENV)/.torch setup.py
	$(INSTALL) --editable '.[all]'
	@$(COMPILE)
	@touch $@ $(VENV)/.demo

# Removes the environment; survey files, stores, runs and catalogs stay.
clean:
	rm -rf $(VENV) build galaxycgan.egg-info
