"""The verbs. `speechrep VERB ...` imports `speechrep/bin/VERB.py` and nothing else until it must."""

import ast
import importlib
import os
import sys
from pathlib import Path


def verbs() -> dict[str, str]:
    """Each verb with the first line of its file's docstring, read without importing it."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = docstring.partition("\n")[0]
    return found


def main(argv: list[str] | None = None) -> int:
    """The command `speechrep`. Returns the exit status: 0 done, 1 something to mend (said on stderr), 2 bad usage."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("usage: speechrep VERB ...   (speechrep VERB --help tells its options)\n")
        for verb, line in verbs().items():
            print(f"  {verb:12s} {line}")
        return 0
    verb, *rest = argv
    if verb == "--version":
        from speechrep import __version__
        print(__version__)
        return 0
    if not (Path(__file__).parent / f"{verb}.py").is_file() or verb.startswith("_"):
        import difflib
        near = difflib.get_close_matches(verb, verbs(), n=1)
        print(f"speechrep: no verb '{verb}'{f'; did you mean {near[0]!r}?' if near else ''} (speechrep --help lists them)",
              file=sys.stderr)
        return 2

    import argparse
    from speechrep.errors import SpeechrepError
    module = importlib.import_module(f"speechrep.bin.{verb}")
    parser = argparse.ArgumentParser(prog=f"speechrep {verb}", description=module.__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    args = parser.parse_args(rest)
    try:
        return module.main(args) or 0
    except SpeechrepError as error:
        print(f"speechrep {verb}: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno == 28:
            print(f"speechrep {verb}: the disk is full ({error.filename or 'while writing'})\n"
                  "  cure: free some space and run the same command again; what was finished is kept", file=sys.stderr)
            return 1
        raise
