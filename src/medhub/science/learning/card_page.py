# SPDX-License-Identifier: Apache-2.0
"""A model card as Markdown (``medhub card CLASSIFIER --out PAGE``).

The order of the sections follows Mitchell et al., "Model cards for model reporting" (FAT* 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medhub.science.inference.card import Estimate, ModelCard

COMMAND = "medhub card models/{name} --out docs/model-cards/{name}.md"


def page(card: ModelCard) -> str:
    """Render a card as Markdown.

    Parameters
    ----------
    card
        The card.

    Returns
    -------
    str
        The page, with a line feed at its end.
    """
    parts = [
        f"<!-- Written by `{COMMAND.format(name=card.name)}`; do not change it here. -->",
        f"# {card.name} {card.version}: {card.title}",
        "**Research demonstration.** It was trained on images whose terms allow no more." * card.research_demonstration,
        _facts(card),
        *_purpose(card),
        *_abstaining(card),
        *_figures(card),
        *_label_figures(card),
        *_sources_and_curve(card),
        _explained(card),
        *_out_of_distribution(card),
        "## Images",
        _data(card),
        _run(card),
        _recalibrated(card),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _purpose(card: ModelCard) -> tuple[str, ...]:
    return (
        "## What it is for",
        card.intended_use,
        "## What it must not be used for",
        _list(card.not_for),
        "## What limits it",
        _list(card.limitations),
        "## Known shortcuts" if card.shortcuts else "",
        _list(card.shortcuts),
    )


def _abstaining(card: ModelCard) -> tuple[str, ...]:
    return (
        "## When it abstains",
        "It says **Uncertain** where the likeliest label stays below the threshold of the pathway, and where the "
        f"image is unlike the training data: novelty above {card.novelty.limit:g}.",
        f"- Novelty: {card.novelty.method}.\n- Limit: {card.novelty.basis}" + _shapes(card),
        _threshold(card),
    )


def _figures(card: ModelCard) -> tuple[str, ...]:
    return (
        "## What it reached",
        "Measured on the files that ship, through the code that serves. The command that prints every figure again:",
        "\n".join(f"    {command}" for command in _commands(card)),
        _table(
            ("figure", "value", "95 % interval", "images", "interval"),
            (
                (f.name, _percent(f.value), f"{_percent(f.low)} to {_percent(f.high)}", f.n, f.interval)
                for f in card.figures
            ),
        ),
        _table(("measure", "value", "images"), ((m.name, f"{m.value:.4f}", m.n) for m in card.measures)),
        _calibration(card),
    )


def _label_figures(card: ModelCard) -> tuple[str, ...]:
    return (
        _labels(card),
        "Test images by label (row) and what the classifier said (column):" if card.confusion else "",
        _table(
            ("", *card.labels),
            ((label, *(count or "" for count in row)) for label, row in zip(card.labels, card.confusion, strict=False)),
        ),
    )


def _sources_and_curve(card: ModelCard) -> tuple[str, ...]:
    return (
        "By source:" if card.sources else "",
        _table(
            ("source", "images", "accuracy (95 % interval)"),
            ((s.source, s.n, _ranged(s.accuracy)) for s in card.sources),
        ),
        "How accurate the surest are, among the test images:" if card.curve else "",
        _table(
            ("answered", *(_percent(point.answered) for point in card.curve)),
            [("accuracy", *(_percent(point.accuracy) for point in card.curve))] if card.curve else [],
        ),
    )


def _out_of_distribution(card: ModelCard) -> tuple[str, ...]:
    return (
        "## What becomes of images that it was not made for",
        "None of these images had a part in training, calibration or the choice of the limit. The area under the ROC "
        "curve is that of telling them from the test images by novelty alone."
        if card.out_of_distribution
        else "Not measured.",
        _table(
            ("kind", "images", "Uncertain", "unlike the training data", "AUROC"),
            (
                (s.name, s.n, _percent(s.uncertain), _percent(s.novel), "" if s.auroc is None else f"{s.auroc:.3f}")
                for s in card.out_of_distribution
            ),
        ),
    )


def _data(card: ModelCard) -> str:
    return "\n\n".join(
        f"**{d.name}.** {d.images} images; {d.use}. Licence: {d.licence}. Attribution: {d.attribution}. "
        f"Source: {d.source}. Split: {d.split}."
        for d in card.data
    )


def _facts(card: ModelCard) -> str:
    preprocessing = card.preprocessing
    rows = [
        ("architecture", card.architecture),
        ("labels", ", ".join(card.labels)),
        (
            "input",
            f"{preprocessing.channels}, the whole image brought to {preprocessing.size} x {preprocessing.size} pixels "
            f"({preprocessing.resize}, {preprocessing.interpolation})",
        ),
        ("temperature", f"{card.temperature:g}"),
        ("licence of the weights", card.licence),
        ("made by", f"`{card.trained_with}`"),
        ("SHA-256 of model.onnx", f"`{card.model_sha256}`"),
    ]
    if card.offsets:
        each = (f"{label} {offset:+.2f}" for label, offset in zip(card.labels, card.offsets, strict=True))
        rows.insert(4, ("offsets of the logits after it", ", ".join(each)))
    if card.start is not None:
        rows.insert(1, ("started from", f"{card.start.name}; {card.start.source}; licence {card.start.licence}"))
    return _table(("", ""), rows)


def _shapes(card: ModelCard) -> str:
    limits = card.novelty.shapes
    if limits is None:
        return ""
    return f"\n- Width by height below {limits[0]:g} or above {limits[1]:g}: no training image was nearly so long."


def _threshold(card: ModelCard) -> str:
    if card.abstention is None:
        return ""
    a = card.abstention
    groups = f" in {a.groups} groups" if a.groups not in (None, a.n) else ""
    return (
        f"- Learned limit: {a.threshold:.4f}. It was learned on {a.n} validation images{groups}: "
        f"{_percent(a.answered)} of them are answered, {_percent(a.error)} of these wrongly. The promise: in a further "
        f"set of like images, as large as that one, at most {_percent(a.target_error)} of the answers above the limit "
        f"are wrong; at least {_percent(a.confidence)} of such sets keep to it.\n"
        f"- {a.method}. A pathway may set a limit of its own instead."
    )


def _calibration(card: ModelCard) -> str:
    if card.calibration is None:
        return ""
    c = card.calibration
    return (
        f"Expected calibration error on {c.n} validation images: {c.error_before:.4f} before the calibration, "
        f"{c.error_after:.4f} after it."
    )


def _labels(card: ModelCard) -> str:
    def with_interval(value: float, interval: tuple[float, float] | None) -> str:
        return _percent(value) if interval is None else _ranged((value, *interval))

    def or_none(value: Estimate | None) -> str:
        return "" if value is None else _ranged(value)

    names = card.display_names()
    detailed = any(p.specificity is not None for p in card.per_label)
    columns = ("label", "means", "test images", "sensitivity (recall)", "precision")
    details = ("specificity", "F1", "AUROC", "AUPRC") if detailed else ()
    return _table(
        (*columns, *details),
        (
            (
                p.label,
                names[p.label],
                p.n,
                with_interval(p.recall, p.recall_interval),
                with_interval(p.precision, p.precision_interval),
                *((or_none(p.specificity), or_none(p.f1), or_none(p.auroc), or_none(p.auprc)) if detailed else ()),
            )
            for p in card.per_label
        ),
    )


def _explained(card: ModelCard) -> str:
    if card.explained is None:
        return ""
    e = card.explained
    return (
        f"Evidence maps, put to the test on {e.n} validation images: correlation with Grad-CAM {e.grad_cam:.3f}; with "
        f"the maps of the same network with random weights {e.random_weights:.3f} (near 0 is good). Mean probability "
        f"of the label while places are covered, most evidence first, {e.deletion:.3f} (in random order "
        f"{e.deletion_by_chance:.3f}; lower is better); while they are uncovered, {e.insertion:.3f} (in random order "
        f"{e.insertion_by_chance:.3f}; higher is better)."
    )


def _run(card: ModelCard) -> str:
    if card.run is None:
        return ""
    r = card.run
    rows = [
        ("code", r.code),
        ("SHA-256 of the data", f"`{r.data_sha256}`"),
        ("SHA-256 of the recipe", f"`{r.recipe_sha256}`"),
        ("images to learn from, validate with, test", " / ".join(str(count) for count in r.images)),
        ("seed; epochs; weights of epoch", f"{r.seed}; {r.epochs}; {r.taken_epoch}"),
        ("device", r.device),
        ("environment", r.environment),
    ]
    if r.teacher:
        rows.append(("learned from the classifier", r.teacher))
    if r.overruled:
        rows.append(("overlap between the parts overruled", r.overruled))
    if card.quantized is not None:
        q = card.quantized
        word = "kept" if q.shipped else "not kept"
        drop = f"accuracy on validation images {q.accuracy_drop * 100:+.2f} points lower, {q.megabytes:g} MB"
        rows.append(("8-bit model", f"{word}: {drop}"))
    return "## The training\n\n" + _table(("", ""), rows)


def _recalibrated(card: ModelCard) -> str:
    if card.recalibrated is None:
        return ""
    r = card.recalibrated
    rows = [
        ("the classifier before, with the same network", f"{r.of}, digest `{r.digest}`"),
        ("images to calibrate with, test", " / ".join(str(count) for count in r.images)),
        ("SHA-256 of the data", f"`{r.data_sha256}`"),
        ("code", r.code),
    ]
    return "\n\n".join(part for part in ("## Calibrated anew", r.note, _table(("", ""), rows)) if part)


def _ranged(value: Estimate) -> str:
    return f"{_percent(value[0])} ({_percent(value[1])} to {_percent(value[2])})"


def _commands(card: ModelCard) -> list[str]:
    return list(dict.fromkeys([figure.command for figure in card.figures]))


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    if not body:
        return ""
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body])


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
