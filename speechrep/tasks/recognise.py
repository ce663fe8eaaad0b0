"""Recognised symbols of a data folder as files: `ref` and `hyp`, one line an utterance, which scoring reads."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from speechrep.config import plain
from speechrep.data.dataset import SpeechDataset, collate, to_device
from speechrep.data.folder import DataFolder, table_text
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_folder, write_json
from speechrep.methods.base import Batch, Method
from speechrep.metrics.wer import corpus_edits, error_rate, phones
from speechrep.tasks.asr import Task as Recogniser
from speechrep.tasks.beam import BeamDecoder, Search
from speechrep.tasks.cached import Cache, whole_part
from speechrep.tasks.prototype import Prototypes
from speechrep.tasks.spelling import spell, spelt_characters, spelt_words, symbols_of

LM_WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
WORD_SCORES = (-1.0, 0.0, 1.0, 2.0, 4.0)
"""What is tried where the two are chosen (an assumption; SUPERB's 2 and -1 are among them)."""


def recognise(recogniser: Recogniser | tuple[Method, Prototypes], folder: DataFolder, dump: Path, out: Path,
              device: str = "cpu", batch: int = 16, search: Search | None = None,
              dev: DataFolder | None = None, cache: Cache | None = None) -> None:
    """Transcribe every utterance of `folder` that has a reference. `dump` has a sub-folder for each kind and part.

    Phones are compared without silence and, where the task does not keep them, stress and tone; characters with the
    word boundary written as `_`; where words are taken as they are said, a reference needs its language too.
    search: look for the best hypothesis by beam search, in place of the best path; the task asr only.
    dev: with a language model, choose its weight and the score of a word by the least errors on this folder.
    cache: the layers of a trained task's frozen upstream. Leaves `hyp`, `ref`, `units` and made.json, which says by
    what, and how many utterances have no reference, and with `search` decoding.json, in the folder `out`, complete or not at
    all. Raises `SpeechrepError` if an utterance with a reference has no features.
    """
    if isinstance(recogniser, tuple):
        method, units, stream = recogniser[0], "phones", "ali"
        spoken = stress = False
    else:
        method, units, stream = recogniser, recogniser.config.units, recogniser.config.stream
        spoken, stress = recogniser.config.spoken, recogniser.config.stress

    def gone_over(part: DataFolder, work: Callable[[Batch], list]) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """References of the utterances of `part`, and what `work` makes of a batch of them."""
        references = part.read(stream)
        langs = part.labels("utt2lang") if spoken else {}
        if spoken:
            # How words are said hangs on the language; training leaves such utterances out too.
            references = {utt: line for utt, line in references.items() if utt in langs}
        if isinstance(recogniser, tuple):
            feats = dump / method.inventory.features["kind"] / part.path.name
            dataset = SpeechDataset(part, feats, method.inventory, method.needs[:1], max_sec=math.inf, min_sec=0.0)
        else:
            dataset = whole_part(recogniser, part, dump, (), cache)
        order = sorted((i for i, utt in enumerate(dataset.utts) if utt in references), key=lambda i: dataset.seconds[i])
        if not order:
            raise SpeechrepError(f"{part.path}: no utterance to recognise")
        there = {dataset.utts[i] for i in order}
        missing = sorted(set(references) & set(part.utts) - there)
        if missing:
            raise SpeechrepError(f"{len(missing)} of {len(references)} utterances without features, such as "
                                 f"'{missing[0]}'", f"all that have a reference in {part.path}", "dump this part")
        made: dict[str, Any] = {}
        for start in range(0, len(order), batch):
            items = to_device(collate([dataset[i] for i in order[start:start + batch]]), torch.device(device))
            made.update(zip(items["utts"], work(items), strict=True))
        named = "phones" if units == "phones" else "chars"
        return {utt: symbols_of(references[utt], langs.get(utt, ""), named, spoken, stress, stream == "ali")
                for utt in made}, made

    found: dict[str, Any] = {}
    if search is None:
        work = (lambda items: recogniser[1].transcribe(method, items)) if isinstance(recogniser, tuple) \
            else recogniser.transcribe
        ref, hyp = gone_over(folder, work)
    else:
        decoder = recogniser.beam_decoder(search)
        if dev is not None and search.lm is not None:
            decoder, tried = choose(decoder, units, *gone_over(dev, recogniser.emissions))
            search, found = decoder.search, {"chosen_on": str(dev.path), "tried": tried}
        ref, hyp = gone_over(folder, lambda items: [decoder(row) for row in recogniser.emissions(items)])
    with atomic_folder(out) as tmp:
        for name, table in (("hyp", hyp), ("ref", ref)):
            lines = {utt: " ".join(spell(symbols)) for utt, symbols in table.items()}
            (tmp / name).write_text(table_text(lines), encoding="utf-8")
        (tmp / "units").write_text(units + "\n", encoding="utf-8")
        made = {"task": "prototype"} if isinstance(recogniser, tuple) else {
            "task": "asr", "config": plain(recogniser.config), "best": recogniser.best, "labels": list(recogniser.labels),
            "upstream": recogniser.upstream.spec}
        write_json(tmp / "made.json", made | {"unlabelled": len(folder.utts) - len(ref), "of": len(folder.utts)})
        if search is not None:
            write_json(tmp / "decoding.json", plain(replace(search, lm=None)) | {
                "lm": str(search.lm) if search.lm else None} | found)


def choose(decoder: BeamDecoder, units: str, references: dict[str, list[str]],
           emissions: dict[str, torch.Tensor]) -> tuple[BeamDecoder, list[dict[str, float]]]:
    """The search with the weight and word score of the least error rate, the first among equals, and all that were
    tried: phone or character errors where the language model is of symbols, word errors where it is of words."""
    of_words = decoder.search.lm_of == "words"
    symbols = phones if units == "phones" else spelt_words if of_words else spelt_characters
    refs = {utt: " ".join(spell(line)) for utt, line in references.items()}
    tried = []
    for weight in LM_WEIGHTS:
        for score in WORD_SCORES if of_words else (0.0,):
            search = decoder.weighed(weight, score)
            hyps = {utt: " ".join(spell(search(row))) for utt, row in emissions.items()}
            tried.append({"lm_weight": weight, "word_score": score,
                          "error_rate": error_rate(corpus_edits(refs, hyps, symbols))})
    best = min(tried, key=lambda row: row["error_rate"])
    return decoder.weighed(best["lm_weight"], best["word_score"]), tried
