import json

from speechrep.provenance import provenance


def test_what_stands_beside_a_score():
    found = provenance(["speechrep", "score", "a b"], {"lr": 0.1}, 3, {"utterances": 7})
    assert found["command"] == "speechrep score 'a b'"
    assert (found["config"], found["seed"], found["data"]) == ({"lr": 0.1}, 3, {"utterances": 7})
    import torch
    assert found["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["commit"] is None or len(found["commit"]) == 40
    json.dumps(found)
