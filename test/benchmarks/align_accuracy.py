"""Boundary errors and speed of our aligner, pocketsphinx and kaldi-hmm-gmm on the same flite corpus, in one run.

    python test/benchmarks/align_accuracy.py [--utterances 400] [--work FOLDER]
    python test/benchmarks/align_accuracy.py --data FOLDER [--data FOLDER ...]

Prints a Markdown table. All three are given the true phones of every word; pocketsphinx comes with a model trained on
English read by people, the other two train on the corpus from flat start. RTF: processor seconds on one core to align,
features included, per second of audio. Needs flite and `pip install pocketsphinx==5.1.1 kaldi-hmm-gmm==1.1.4
kaldifst==1.7.17`.

With --data, which needs none of these, the errors of `ali` against `ali.true` in data folders that hold both, such as
those of egs/mini behind its stage 2, with 95 % bootstrap intervals over the utterances that were aligned.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from flite_corpus import checksum, have_flite, make_flite_corpus

from speechrep.align.corpus import align_part
from speechrep.align.model import AlignConfig, phone_words
from speechrep.align.train import train
from speechrep.data.alignment import read_ali
from speechrep.data.audio import AudioReader
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.metrics.bootstrap import LEVEL, draws, ratio_interval

Segments = list[tuple[str, float, float]]
SPHINX = {"AX": "AH", "AXR": "ER"}
NEAR_SEC = 0.02


def segments_of(line: str) -> Segments:
    phones, ends = read_ali(line)
    return [(p, a, b) for p, a, b in zip(phones, [0.0, *ends[:-1]], ends) if p != "SIL"]


def boundary_errors(found: dict[str, Segments], true: dict[str, str]) -> np.ndarray:
    """Seconds between found and true ends of all phones, and between starts of phones after a true pause."""
    errors = []
    for utt, segments in found.items():
        phones, ends = read_ali(true[utt])
        wanted = segments_of(true[utt])
        if len(segments) != len(wanted):
            raise ValueError(f"{utt}: {len(segments)} phones instead of {len(wanted)}")
        paused = [a == "SIL" for a, b in zip(phones, phones[1:]) if b != "SIL"]
        paused = paused if phones[0] == "SIL" else [False, *paused]
        for (_, start, end), (_, true_start, true_end), pause in zip(segments, wanted, paused):
            errors.append(end - true_end)
            if pause:
                errors.append(start - true_start)
    return np.array(errors)


def accuracy(folder: DataFolder) -> dict[str, float | tuple[float, float, float]]:
    """How far the boundaries of `ali` are from those of `ali.true`, whose phones must be the same, pauses aside.

    Returns "aligned", "utterances" and "boundaries" as counts, and with their intervals over utterances (value, low,
    high) "mean_ms" and "median_ms" of the absolute errors and "near", the share of errors under 20 ms. Raises
    `SpeechrepError` where a stream is missing, nothing is aligned, or an utterance is of other phones.
    """
    found, true = folder.read("ali"), folder.read("ali.true")
    if not found:
        raise SpeechrepError(f"{folder.path}/ali: no utterance in it", "one at least that was aligned")
    gaps = []
    for utt, line in found.items():
        if utt not in true:
            raise SpeechrepError(f"{folder.path}/ali.true: no '{utt}', which is in ali", "every utterance of ali")
        said, wanted = ([phone for phone, _, _ in segments_of(text)] for text in (line, true[utt]))
        if said != wanted:
            raise SpeechrepError(f"{folder.path}/ali: {utt}: phones '{' '.join(said)[:60]}'",
                                 f"those of ali.true, '{' '.join(wanted)[:60]}'", "align the folder's `phones` as they are")
        gaps.append(np.abs(boundary_errors({utt: segments_of(line)}, true)))
    counts = np.array([len(own) for own in gaps])
    if not counts.sum():
        raise SpeechrepError(f"{folder.path}/ali.true: no phone in it but SIL", "utterances in which something is said")
    medians = [np.median(np.concatenate([gaps[utt] for utt in drawn])) for drawn in draws(len(gaps)) if counts[drawn].any()]
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"aligned": len(found), "utterances": len(folder.utts), "boundaries": int(counts.sum()),
            "mean_ms": ratio_interval(np.array([1e3 * own.sum() for own in gaps]), counts),
            "median_ms": (1e3 * float(np.median(np.concatenate(gaps))), 1e3 * float(low), 1e3 * float(high)),
            "near": ratio_interval(np.array([(own < NEAR_SEC).sum() for own in gaps]), counts)}


def print_accuracy(paths: list[str]) -> None:
    """A Markdown table of `accuracy`, a row a data folder."""
    rows = [(path, accuracy(DataFolder(path))) for path in paths]
    print("| data | aligned | boundaries | mean error, ms | median, ms | within 20 ms, % |\n|---|---|---|---|---|---|")
    for path, found in rows:
        cells = [f"{value:.1f} [{low:.1f}, {high:.1f}]" for value, low, high in (
            found["mean_ms"], found["median_ms"], (100 * number for number in found["near"]))]
        print(f"| {path} | {found['aligned']} of {found['utterances']} | {found['boundaries']} | {' | '.join(cells)} |")


def ours(folder: DataFolder, work: Path) -> tuple[dict[str, Segments], float, float]:
    clock = time.process_time()
    train(folder, AlignConfig()).save(work / "aligner.pt")
    trained = time.process_time()
    lines, _ = align_part(str(work / "aligner.pt"), str(folder.path), folder.utts, "", False)
    return {utt: segments_of(line) for utt, line in lines.items()}, trained - clock, time.process_time() - trained


def pocketsphinx(folder: DataFolder) -> tuple[dict[str, Segments], float, float]:
    import pocketsphinx as ps
    reader, phones = AudioReader(folder, rate_hz=16000), folder.read("phones")
    found, clock = {}, time.process_time()
    decoder = ps.Decoder(lm=None, loglevel="FATAL", dither=True)
    words: dict[str, str] = {}
    for utt in folder.utts:
        audio = (reader.read(utt)[0] * 32767).astype(np.int16).tobytes()
        names = []
        for word in phone_words(phones[utt]):
            said = " ".join(SPHINX.get(phone, phone) for phone in word)
            if said not in words:
                words[said] = f"word{len(words)}"
                decoder.add_word(words[said], said, True)
            names.append(words[said])
        try:
            decoder.set_align_text(" ".join(names))
            for step in range(2):
                if step:
                    decoder.set_alignment()
                decoder.start_utt()
                decoder.process_raw(audio, full_utt=True)
                decoder.end_utt()
        except RuntimeError:
            continue
        hop = 0.01
        segments = [(phone.name, phone.start * hop, (phone.start + phone.duration) * hop)
                    for word in decoder.get_alignment() for phone in word if phone.name != "SIL"]
        if len(segments) == sum(map(len, phone_words(phones[utt]))):
            found[utt] = segments
    return found, 0.0, time.process_time() - clock


class Kaldi:
    """A monophone system of kaldi-hmm-gmm: three states a phone, optional silence, alignment and update in turns."""

    def __init__(self, folder: DataFolder):
        import kaldi_hmm_gmm as khg
        self.khg, self.folder = khg, folder
        self.words = {utt: [tuple(word) for word in phone_words(line)] for utt, line in folder.read("phones").items()}
        prons = sorted({word for words in self.words.values() for word in words})
        self.ids = {word: i + 1 for i, word in enumerate(prons)}
        self.phones = ["SIL", *sorted({p for word in prons for p in word})]
        number = {p: i + 1 for i, p in enumerate(self.phones)}
        self.topo = khg.HmmTopology()
        self.topo.read(self._topology())
        self.tree = khg.monophone_context_dependency(list(range(1, len(self.phones) + 1)), [0] + [3] * len(self.phones))
        self.lexicon = self._lexicon({word: [number[p] for p in word] for word in prons})

    def _topology(self) -> str:
        states = " ".join(f"<State> {s} <PdfClass> {s} <Transition> {s} 0.75 <Transition> {s + 1} 0.25 </State>"
                          for s in range(3))
        names = " ".join(str(i + 1) for i in range(len(self.phones)))
        entry = f"<ForPhones> {names} </ForPhones> {states} <State> 3 </State>"
        return f"<Topology> <TopologyEntry> {entry} </TopologyEntry> </Topology>"

    def _lexicon(self, prons):
        import kaldifst
        fst = kaldifst.StdVectorFst()
        start, loop, silence = (fst.add_state() for _ in range(3))
        fst.start = start
        half = float(np.log(2.0))
        fst.add_arc(start, kaldifst.StdArc(0, 0, half, loop))
        fst.add_arc(start, kaldifst.StdArc(0, 0, half, silence))
        fst.add_arc(silence, kaldifst.StdArc(1, 0, 0.0, loop))
        for word, phones in prons.items():
            here = loop
            for index, phone in enumerate(phones):
                label = self.ids[word] if index == 0 else 0
                if index + 1 < len(phones):
                    following = fst.add_state()
                    fst.add_arc(here, kaldifst.StdArc(phone, label, 0.0, following))
                    here = following
                else:
                    fst.add_arc(here, kaldifst.StdArc(phone, label, half, loop))
                    fst.add_arc(here, kaldifst.StdArc(phone, label, half, silence))
        fst.set_final(loop, 0.0)
        kaldifst.arcsort(fst, "olabel")
        return fst

    def feats(self, reader: AudioReader, utt: str) -> np.ndarray:
        """Kaldi's MFCC with two differences, less the mean: [N, 39]."""
        import kaldi_native_fbank as knf
        from torchaudio.functional import compute_deltas
        audio, rate_hz = reader.read(utt)
        options = knf.MfccOptions()
        options.frame_opts.samp_freq = rate_hz
        options.frame_opts.dither = 0
        options.frame_opts.snip_edges = False
        extractor = knf.OnlineMfcc(options)
        extractor.accept_waveform(rate_hz, (audio * 32768).tolist())
        extractor.input_finished()
        mfcc = torch.from_numpy(np.stack([extractor.get_frame(n) for n in range(extractor.num_frames_ready)]))
        mfcc = (mfcc - mfcc.mean(0)).T
        first = compute_deltas(mfcc)
        return torch.cat([mfcc, first, compute_deltas(first)]).T.contiguous().numpy()

    def run(self, iterations: int = 30, gaussians: int = 600) -> tuple[dict[str, Segments], float, float]:
        import kaldifst
        khg, clock = self.khg, time.process_time()
        reader = AudioReader(self.folder, rate_hz=16000)
        feats = {utt: self.feats(reader, utt) for utt in self.folder.utts}
        feature_sec = time.process_time() - clock
        tm = khg.TransitionModel(self.tree, self.topo)
        every = np.concatenate(list(feats.values()))
        proto = khg.DiagGmm(1, every.shape[1])
        precision = 1.0 / every.var(0, keepdims=True)
        proto.set_weights(np.ones(1, np.float32))
        proto.set_invvars_and_means(precision, every.mean(0, keepdims=True))
        proto.compute_gconsts()
        am = khg.AmDiagGmm()
        am.init(proto, self.tree.num_pdfs)
        # Without the model's probabilities, which change and are added to a copy before each alignment.
        options = khg.TrainingGraphCompilerOptions(transition_scale=0.0, self_loop_scale=0.0)
        compiler = khg.TrainingGraphCompiler(tm, self.tree, self.lexicon, [], options)
        graphs = {utt: compiler.compile_graph_from_text([self.ids[w] for w in words])
                  for utt, words in self.words.items()}
        paths: dict[str, list[int]] = {}
        for utt, graph in graphs.items():
            done, path = kaldifst.equal_align(graph, len(feats[utt]), 1, 10)
            if done:
                paths[utt] = _inputs(path)
        target, realign = am.num_gauss, {*range(1, 11), *range(12, 21, 2), *range(23, iterations, 3)}
        for iteration in range(iterations):
            if iteration in realign:
                paths = self._align(tm, am, graphs, feats, 6.0 if iteration == 1 else 10.0)
            stats, acc = tm.init_stats(), khg.AccumAmDiagGmm()
            flags = khg.str_to_gmm_flags("mvw")
            acc.init(am, flags)
            for utt, path in paths.items():
                for frame, transition in zip(feats[utt], path):
                    stats = tm.accumulate(1.0, transition, stats)
                    acc.accumulate_for_gmm(am, frame, tm.transition_id_to_pdf(transition), 1.0)
            tm.mle_update(stats, khg.MleTransitionUpdateConfig())
            khg.mle_am_diag_gmm_update(khg.MleDiagGmmOptions(min_gaussian_occupancy=3.0), acc, flags, am)
            if iteration:
                target = min(gaussians, target + gaussians // 20)
                occupancy = np.array([acc.get_acc(i).occupancy.sum() for i in range(am.num_pdfs)], np.float32)
                am.split_by_count(occupancy, target, 0.01, 0.25, 20.0)
        trained, clock = time.process_time() - clock, time.process_time()
        paths = self._align(tm, am, graphs, feats, 10.0)
        found = {utt: self._segments(tm, path) for utt, path in paths.items()}
        return found, trained, time.process_time() - clock + feature_sec

    def _align(self, tm, am, graphs, feats, beam: float) -> dict[str, list[int]]:
        khg, paths = self.khg, {}
        config = khg.AlignConfig(beam=beam, retry_beam=40.0, careful=False)
        for utt, graph in graphs.items():
            copy = type(graph)(graph)
            khg.add_transition_probs(trans_model=tm, transition_scale=1.0, self_loop_scale=0.1, fst=copy)
            decodable = khg.DecodableAmDiagGmmScaled(am, tm, feats[utt], 0.1)
            answer = khg.align_utterance_wrapper(config, utt, 0.1, copy, decodable, 0, 0, 0, 0.0, 0)
            if answer[0]:
                paths[utt] = answer[5]
        return paths

    def _segments(self, tm, path: list[int]) -> Segments:
        segments: Segments = []
        for n, transition in enumerate(path):
            # In Kaldi's order a state's loops come after the arc that leaves it.
            if n == 0 or tm.transition_ids_is_start_of_phone(transition) and not tm.is_self_loop(transition):
                segments.append((self.phones[tm.transition_id_to_phone(transition) - 1], n * 0.01, n * 0.01))
            segments[-1] = (*segments[-1][:2], (n + 1) * 0.01)
        return [item for item in segments if item[0] != "SIL"]


def _inputs(fst) -> list[int]:
    state, labels = fst.start, []
    while True:
        arc = next(iter(_arcs(fst, state)), None)
        if arc is None:
            return labels
        if arc.ilabel:
            labels.append(arc.ilabel)
        state = arc.nextstate


def _arcs(fst, state):
    import kaldifst
    return kaldifst.ArcIterator(fst, state)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=400)
    parser.add_argument("--work", help="where the corpus is kept (default: a temporary folder)")
    parser.add_argument("--data", action="append", metavar="FOLDER", help="an aligned data folder with `ali.true`, which is "
                        "measured instead; may be repeated")
    args = parser.parse_args(words)
    if args.data:
        try:
            print_accuracy(args.data)
        except SpeechrepError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.status
        return 0
    if not have_flite():
        print("flite with the voices slt, rms, awb and kal16 is not installed (apt-get install flite)", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(args.work or temporary)
        folder = DataFolder(make_flite_corpus(work / "flite", args.utterances))
        true, seconds = folder.read("ali.true"), sum(folder.seconds.values())
        print(f"{len(folder.utts)} utterances, {seconds / 60:.1f} min, truth {checksum(folder.path)}\n")
        print("| aligner | aligned | MAE ms | median ms | < 20 ms | training s | RTF, one core | x real time |\n"
              "|---|---|---|---|---|---|---|---|")
        systems = [("speechrep align", lambda: ours(folder, work)),
                   ("pocketsphinx 5.1.1", lambda: pocketsphinx(folder)),
                   ("kaldi-hmm-gmm 1.1.4, monophones", lambda: Kaldi(folder).run())]
        for name, system in systems:
            found, training, spent = system()
            gaps = np.abs(boundary_errors(found, true))
            print(f"| {name} | {len(found)} of {len(folder.utts)} | {1e3 * gaps.mean():.1f} "
                  f"| {1e3 * np.median(gaps):.1f} | {(gaps < 0.02).mean():.3f} | {training:.0f} "
                  f"| {spent / seconds:.4f} | {seconds / spent:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
