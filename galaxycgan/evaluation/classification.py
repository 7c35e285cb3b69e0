"""How good a classifier is: scores and curves from true kinds and probabilities. Knows no network."""

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, precision_recall_curve, roc_auc_score
from sklearn.metrics import roc_curve as _roc_curve

from galaxycgan.evaluation.style import save_figure, style

BOOTSTRAP = 500


def scores(wanted, probability, prior):
    """Score probabilities.

    Parameters
    ----------
    wanted : array [n]
        1 or 0.
    probability : array [n]
        Of being wanted.
    prior : float
        Share of wanted galaxies in the training split; its log loss is what knowing nothing costs.

    Returns
    -------
    dict
        n, n_wanted, log_loss and log_loss_prior (nats), roc_auc with its bootstrap 16-84% interval,
        average_precision, brier.
    """
    probability = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    random = np.random.default_rng(0)
    draws = []
    for _ in range(BOOTSTRAP):
        pick = random.integers(len(wanted), size=len(wanted))
        if 0 < wanted[pick].sum() < len(pick):
            draws.append(roc_auc_score(wanted[pick], probability[pick]))
    return {
        "n": len(wanted),
        "n_wanted": int(wanted.sum()),
        "log_loss": float(log_loss(wanted, probability)),
        "log_loss_prior": float(log_loss(wanted, np.full(len(wanted), np.clip(prior, 1e-7, 1 - 1e-7)), labels=[0, 1])),
        "roc_auc": float(roc_auc_score(wanted, probability)),
        "roc_auc_interval": [float(v) for v in np.quantile(draws, (0.16, 0.84))],
        "average_precision": float(average_precision_score(wanted, probability)),
        "brier": float(brier_score_loss(wanted, probability)),
    }


def plot_classifier(path, results, history):
    """Draw learning curves, ROC, precision-recall and the histogram of probabilities into one picture.

    Parameters
    ----------
    path : Path
        PNG to write.
    results : dict
        'test': (wanted [n], probability [n]); 'metrics': see `scores`.
    history : list of dict
        train_loss, val_loss by epoch.
    """
    plt = style()
    wanted, probability = results["test"]
    metrics = results["metrics"]["test"]
    figure, (curves, roc, recall, histogram) = plt.subplots(1, 4, figsize=(16, 4))
    curves.plot([entry["train_loss"] for entry in history], label="training")
    curves.plot([entry["val_loss"] for entry in history], label="validation")
    curves.axhline(metrics["log_loss_prior"], color="0.5", ls=":", label="prior alone (test)")
    curves.set(xlabel="epoch", ylabel="log loss [nats]", title="Learning curves")
    curves.legend()
    false_positive, true_positive, _ = _roc_curve(wanted, probability)
    roc.plot(false_positive, true_positive)
    roc.plot([0, 1], [0, 1], color="0.5", ls=":")
    roc.set(
        xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, AUC = {metrics['roc_auc']:.3f} (test)"
    )
    precision, completeness, _ = precision_recall_curve(wanted, probability)
    recall.plot(completeness, precision)
    recall.axhline(wanted.mean(), color="0.5", ls=":")
    recall.set(
        xlabel="completeness",
        ylabel="purity",
        ylim=(0, 1.02),
        title=f"Average precision = {metrics['average_precision']:.3f}",
    )
    bins = np.linspace(0, 1, 21)
    histogram.hist(probability[wanted == 0], bins, alpha=0.6, label="not wanted")
    histogram.hist(probability[wanted == 1], bins, alpha=0.6, label="wanted")
    histogram.set(xlabel="probability", ylabel="galaxies", title=f"Test split, {len(wanted)} galaxies")
    histogram.legend()
    save_figure(figure, path)
