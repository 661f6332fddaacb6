"""Tests that the search finds circles, and reports none where there is none. The test crates have a few lines each."""

import tempfile
from pathlib import Path

from .files import Crate, circles

# What each crate shows, its files, and the files of its circles.
CRATES = [
    ("imports both ways", {"lib.rs": "mod a;\nmod b;", "a.rs": "use crate::b::B;", "b.rs": "use crate::a::A;"}, [{"a.rs", "b.rs"}]),
    ("a path in the code", {"a.rs": "fn a() { crate::b::b(); }", "b.rs": "use super::a::{self};\nfn b() { a::a() }"}, [{"a.rs", "b.rs"}]),
    ("within one folder", {"m/mod.rs": "mod a;\nmod b;", "m/a.rs": "use super::b::B;", "m/b.rs": "use super::a::A;"}, [{"m/a.rs", "m/b.rs"}]),
    (
        "through names that a parent gives out",
        {"m/mod.rs": "mod a;\nmod b;\npub use self::{a::A, b::B};", "m/a.rs": "use super::B;", "m/b.rs": "use crate::m::A;"},
        [{"m/a.rs", "m/b.rs"}],
    ),
    ("a parent's own code", {"m.rs": "mod a;\npub use self::a::A;\nfn f(_: A) {}", "m/a.rs": "use super::f;"}, [{"m.rs", "m/a.rs"}]),
    ("a private import", {"m.rs": "mod a;\nuse a::A;\nstruct S;", "m/a.rs": "use super::S;"}, [{"m.rs", "m/a.rs"}]),
    ("three files", {"a.rs": "use crate::b::B;", "b.rs": "use crate::c::C;", "c.rs": "use crate::a::A as X;"}, [{"a.rs", "b.rs", "c.rs"}]),
    (
        "two circles",
        {"a.rs": "use crate::b::B;", "b.rs": "use crate::a::A;", "c.rs": "use crate::d::D;", "d.rs": "use crate::{a::A, c::C};"},
        [{"a.rs", "b.rs"}, {"c.rs", "d.rs"}],
    ),
    ("what a parent gives out is no use", {"m.rs": "pub mod a;\npub use self::a::A;\npub struct S;", "m/a.rs": "use super::S;"}, []),
    ("a module's name is no use", {"a.rs": "use crate::b;\nfn f() { b::c::f() }", "b.rs": "pub mod c;\nuse crate::a::A;", "b/c.rs": ""}, []),
    (
        "comments, strings and unit tests",
        {
            "a.rs": 'use crate::b::B;\nconst Q: char = \'"\';',
            "b.rs": '// use crate::a::A;\nconst T: &str = "crate::a::f";\n#[cfg(test)]\npub(crate) mod tests {\n    use crate::a::*;\n    fn f() { "}" }\n}',
        },
        [],
    ),
    ("code behind unit tests", {"a.rs": "use crate::b::B;", "b.rs": "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::a::A;"}, [{"a.rs", "b.rs"}]),
    ("other crates", {"a.rs": "use crate::b::B;", "b.rs": "use other::a::A;\nfn f() { std::a::f() }"}, []),
]


def faults():
    """Returns the cases that the search gets wrong."""
    wrong = []
    for what, files, expected in CRATES:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder)
            for name, text in {"lib.rs": "", **files}.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_text(text)
            found = circles(Crate(source, "own").uses())
            found = [{str(path.relative_to(source)) for path in circle} for circle in found]
        if found != expected:
            wrong.append(f"ci/layers is wrong about {what}: it finds {found}, not {expected}")
    return wrong
