//! Expressions and inputs that are meant to do harm: they have to end soon, with an error, on a small stack.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{
    thread,
    time::{Duration, Instant},
};

use oidcproxy_expression::{CompileError, Environment, EvaluationError, Program, Reason, Value};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

/// Generous: a loaded machine and a build without optimisation. Optimised, the worst case takes some 100 ms.
const SOON: Duration = Duration::from_secs(5);

fn claims() -> Map<String, Json> {
    let numbers: Vec<i32> = (0..2000).collect();
    let texts: Vec<String> = (0..2000).map(|number| format!("group-{number}")).collect();
    let claims = json!({"numbers": numbers, "texts": texts, "text": "a".repeat(20_000), "pattern": "(((((a{20}){3}){3})*)*)*b"});
    claims.as_object().cloned().expect("an object")
}

fn run(source: &str) -> Result<Result<Value, EvaluationError>, CompileError> {
    let source = source.to_owned();
    // What a worker thread of the proxy has.
    let thread = thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || {
            let program = Program::compile(&source, Environment::Claims)?;
            Ok(program.evaluate_claims(&claims()))
        });
    thread.expect("a thread").join().expect("no panic")
}

/// A sort may panic over an order that is none.
#[test]
fn what_has_no_order_is_sorted_all_the_same() {
    let some = "dyn(claims.numbers).slice(0, 300)";
    for key in [
        "n > 150.0 ? 0.0 / 0.0 : -n",
        "n > 150.0 ? n * 0.0 : -n * 0.0",
    ] {
        let sorted = run(&format!("{some}.map(n, {key}).sort().size() == 300"));
        let sorted = sorted.expect("an expression").expect("a value");
        assert_eq!(sorted, Value::Bool(true), "{key}");
    }
}

#[test]
fn expensive_evaluations_are_stopped() {
    let doubled = (0..40).fold("'aaaaaaaaaaaaaaaa'".to_owned(), |text, _| {
        format!("[{text}].map(x, x + x)[0]")
    });
    let tree = (0..60).fold("optional.of([1])".to_owned(), |text, _| {
        format!("{text}.optMap(x, [x, x].map(y, y))")
    });
    for source in [
        "dyn(claims.numbers).all(a, dyn(claims.numbers).all(b, dyn(claims.numbers).all(c, a + b + c >= 0.0)))",
        "dyn(claims.numbers).map(a, dyn(claims.numbers).map(b, dyn(claims.numbers).map(c, a)))",
        "dyn(claims.numbers).map(a, dyn(claims.numbers)).map(l, l + l).map(l, l + l).map(l, l + l) == []",
        "dyn(claims.numbers).map(a, true || true || true || true).size() + lists.range(900000).map(a, lists.range(900000)).size() > 0",
        "lists.range(1000000000).size() > 0",
        "lists.range(100000).map(x, lists.range(100000).reverse()).size() > 0",
        "dyn(claims.numbers).exists(a, claims.text.matches(claims.pattern + string(a)))",
        "dyn(claims.numbers).map(a, claims.text + claims.text + claims.text).join('').size() > 0",
        "claims.text.replace('a', claims.text).size() > 0",
        "claims.text.replace('', claims.text).replace('', claims.text).size() > 0",
        "dyn(claims.numbers).map(a, claims.text.split('')).size() > 0",
        "dyn(claims.numbers).map(a, dyn(claims.numbers).distinct()).size() > 0",
        "lists.range(100000).map(a, string(a)).distinct().size() > 0",
        "dyn(claims.texts).all(a, sets.contains(claims.texts, claims.texts))",
        "dyn(claims.texts).all(a, claims.texts == claims.texts)",
        "dyn(claims.numbers).all(a, dyn(claims.numbers).all(b, '%.900f'.format([b]) != ''))",
        "dyn(claims.numbers).all(a, dyn(claims.numbers).all(b, '%s'.format([dyn(claims.texts)]) != ''))",
        "dyn(claims.numbers).transformMap(k, v, dyn(claims.numbers).transformMap(l, w, w)).size() > 0",
        "dyn(claims.texts).sortBy(a, dyn(claims.texts).sort()[0]).map(a, dyn(claims.texts).sort()).size() > 0",
        "dyn(claims.numbers).exists(a, false) || dyn(claims.numbers).exists(a, dyn(claims.numbers).exists(b, claims.text.contains('b')))",
        &format!("{doubled}.size() > 0"),
        &format!("{tree} == {tree}"),
    ] {
        let start = Instant::now();
        let outcome = run(source);
        let took = start.elapsed();
        println!("{took:>10.1?} {source:.90}");
        assert!(took < SOON, "{took:?}: {source}");
        match outcome {
            Err(_) => {}
            Ok(Err(error)) => {
                assert_eq!(error.reason, Reason::OverBudget, "{error}: {source:.200}");
            }
            Ok(Ok(value)) => panic!("{value:?}: {source:.200}"),
        }
    }
}

#[test]
fn huge_expressions_are_refused_or_fine() {
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    for source in [
        nested("(", "1", ")", 10_000),
        nested("[", "1", "]", 5_000),
        nested("{1:", "1", "}", 5_000),
        nested("!", "true", "", 50_000),
        nested("-", "1", "", 50_000),
        nested("size([", "1", "])", 5_000),
        nested("[1].map(x, ", "1", ")", 240),
        nested("[1].all(x, ", "true", ")", 90),
        nested("optional.of(", "1", ").optMap(x, x)", 200),
        nested("true ? ", "1", " : 1", 5_000),
        vec!["1"; 40_000].join("+"),
        vec!["true"; 15_000].join(" && "),
        vec!["claims"; 10_000].join("."),
        format!("claims{}", "[0]".repeat(10_000)),
        format!("{{1: 1}}{}", ".optMap(x, {x: x})".repeat(100)),
        (0..60).fold("optional.of(1)".to_owned(), |text, _| {
            format!("{text}.optMap(x, {{x: x}})")
        }),
        (0..60).fold("claims.numbers".to_owned(), |text, _| {
            format!("{{'a': {text}, 'b': {text:.20}}}")
        }),
        format!("'a'.matches('{}')", "(".repeat(5_000)),
        format!("'a'.matches('{}a{}')", "(".repeat(5_000), ")".repeat(5_000)),
        "'a'.matches('((((a{9}){9}){9}){9}){9}')".to_owned(),
        "x".repeat(200_000),
        "\u{1f980}".repeat(10_000),
    ] {
        println!("{source:.60}");
        let start = Instant::now();
        let outcome = run(&source);
        let took = start.elapsed();
        assert!(took < SOON, "{took:?}: {source:.80}");
        if let Err(error) = outcome {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}

#[test]
fn deep_claims_are_fine() {
    let deep = (0..120).fold(json!("x"), |inner, _| json!([inner]));
    let claims = json!({"deep": deep});
    for source in [
        "claims.deep == claims.deep",
        "dyn(claims.deep).flatten(1000).size() == 1",
        "[claims.deep].indexOf(claims.deep) == 0",
    ] {
        let program = Program::compile(source, Environment::Claims).expect("valid");
        assert_eq!(
            program.evaluate_claims(claims.as_object().expect("an object")),
            Ok(Value::Bool(true)),
            "{source}"
        );
    }
}

#[test]
fn messages_have_positions_and_no_values() {
    let claims = json!({"secret": "hunter2", "list": ["hunter2"]});
    for (source, line, column) in [
        ("claims.secret + 1.0 == 2.0", 1, 15),
        ("claims.nope", 1, 7),
        ("true &&\n  int(claims.secret) == 1", 2, 6),
        ("claims.list[claims.secret] == 1", 1, 12),
        ("timestamp(claims.secret) > timestamp(0)", 1, 10),
        ("claims.secret.matches(claims.secret + '(')", 1, 22),
        ("quantity(claims.secret) == quantity('1')", 1, 9),
    ] {
        let program = Program::compile(source, Environment::Claims).expect("valid");
        let error = program
            .evaluate_claims(claims.as_object().expect("an object"))
            .expect_err("no result");
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{error}: {source}"
        );
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

const PIECES: [&str; 60] = [
    "claims",
    ".",
    "?",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "==",
    "<",
    "&&",
    "||",
    "in",
    "'a'",
    "\"b",
    "b'c'",
    "r'",
    "'''",
    "1",
    "2u",
    "3.5",
    "0x",
    "null",
    "true",
    "x",
    "map",
    "filter",
    "all",
    "exists",
    "optMap",
    "orValue",
    "has",
    "size",
    "matches",
    "format",
    "'%s'",
    "split",
    "texts",
    "numbers",
    "text",
    "flatten",
    "sortBy",
    "transformMap",
    "url",
    "ip",
    "semver",
    "quantity",
    "timestamp",
    "duration",
    "`a",
    " ",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_or_evaluated(source in "\\PC{0,80}") {
        let _ = Program::compile(&source, Environment::Claims).map(|program| program.evaluate_claims(&Map::new()));
    }

    #[test]
    fn any_bytes_are_refused_or_evaluated(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let source = String::from_utf8_lossy(&bytes);
        let _ = Program::compile(&source, Environment::User);
    }

    #[test]
    fn any_pieces_are_refused_or_evaluated(pieces in proptest::collection::vec(0..PIECES.len(), 0..25)) {
        let source: String = pieces.into_iter().filter_map(|piece| PIECES.get(piece).copied()).collect();
        let _ = Program::compile(&source, Environment::Claims).map(|program| program.evaluate_claims(&Map::new()));
    }

    #[test]
    fn any_pattern_is_refused_or_applied(pattern in "[\\[\\]()a-c{},0-9\\\\^$.*+?|:<>P=!dwsbpQEx&~-]{0,20}") {
        let claims = json!({"pattern": pattern});
        let program = Program::compile("'abc'.matches(claims.pattern)", Environment::Claims).expect("valid");
        let _ = program.evaluate_claims(claims.as_object().expect("an object"));
    }
}
