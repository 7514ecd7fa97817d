"""What makes agents share their parent's pages: counts that are never written."""

import gc
import subprocess
import sys

PROGRAM = """
import gc, sys, weakref
from tom.spawner import immortal

class Thing:
    def __init__(self):
        self.parts = ["".join(["te", "xt"]), {"key": ("a", 1 << 70)}]

thing = Thing()
text = thing.parts[0]
work = immortal.Immortality()
slices = 1
while work.go_on(0.005):
    slices += 1
assert immortal.works()
counted = [sys.getrefcount(item) for item in (thing, Thing, text, thing.parts, thing.parts[1], thing.parts[1]["key"])]
held = [thing] * 1000, [text] * 1000
again = [sys.getrefcount(item) for item in (thing, Thing, text, thing.parts, thing.parts[1], thing.parts[1]["key"])]
assert counted == again, (counted, again)
del held
fresh = Thing()
gone = weakref.ref(fresh)
del fresh
gc.collect()
assert gone() is None
assert slices > 1
thing.parts.append("more")
sys.intern("".join(["te", "xt", "2"]))
import json, decimal
assert json.loads(json.dumps(thing.parts[:1])) == ["text"]
assert decimal.Decimal(2) ** 60 == 1 << 60
print("done")
"""


def test_what_exists_is_immortal_and_what_is_made_later_is_not():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


def test_an_interpreter_that_counts_otherwise_is_left_alone():
    program = (
        "from tom.spawner import immortal\n"
        "immortal._make_immortal = lambda item: None\n"
        "assert not immortal.works()\n"
        "assert not immortal.Immortality().go_on(1)\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
    assert gc.isenabled()
