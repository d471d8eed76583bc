use std::io::Cursor;

use super::values::Values;

/// All values of a file with their lines.
fn values(text: &str) -> Vec<(u64, String)> {
    let mut values = Values::new(Cursor::new(text.as_bytes().to_vec())).unwrap();
    let mut found = Vec::new();
    while let Some((line, value)) = values.next().unwrap() {
        found.push((line, String::from_utf8(value).unwrap()));
    }
    found
}

fn texts(text: &str) -> Vec<String> {
    values(text).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn one_set_of_objects_however_it_is_laid_out() {
    for text in [
        "{\"a\":1}\n{\"b\":\"}]\"}\n{\"c\":[{}]}\n",
        "{\"a\":1}\r\n\r\n{\"b\":\"}]\"}\r\n  {\"c\":[{}]}",
        "{\"a\":1},\n{\"b\":\"}]\"},\n{\"c\":[{}]}\n",
        "[{\"a\":1},{\"b\":\"}]\"},{\"c\":[{}]}]",
        "[{\"a\":1},\n{\"b\":\"}]\"},\n{\"c\":[{}]}]\n",
        "[\n{\"a\":1},\n{\"b\":\"}]\"},\n{\"c\":[{}]}\n]\n",
        "[\n{\"a\":1}\n,{\"b\":\"}]\"}\n,{\"c\":[{}]}\n]\n",
        "{\"a\":1}{\"b\":\"}]\"}{\"c\":[{}]}",
        "{\"a\":1} {\"b\":\"}]\"}\n{\"c\":[{}]}\n",
        "[{\"a\":1}]\n[{\"b\":\"}]\"}, {\"c\":[{}]}]",
    ] {
        assert_eq!(texts(text), ["{\"a\":1}", "{\"b\":\"}]\"}", "{\"c\":[{}]}"], "{text}");
    }
}

#[test]
fn values_over_several_lines_are_found_with_the_line_they_start_on() {
    let text =
        "[\n  {\n    \"a\": 1\n  },\n  {\n    \"a\": [\n      {\"b\": \"}\"}\n    ]\n  }\n]\n";
    let found = values(text);
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 5]);
    assert!(found[1].1.starts_with('{') && found[1].1.ends_with("]\n  }"), "{found:?}");
    let behind: Vec<u64> = values("{\n\"a\": 1\n}\n{\n\"a\": 2\n}\n").iter().map(|v| v.0).collect();
    assert_eq!(behind, [1, 4]);
}

/// A damaged value must not take those behind it along.
#[test]
fn damage_costs_its_own_value() {
    let good = |number: usize| format!("  {{\n    \"a\": \"x\",\n    \"b\": {number}\n  }}");
    for damaged in [
        "  {\n    \"a\": \"x,\n    \"b\": 1\n  }",
        "  {\n    \"a\": x\",\n    \"b\": 1\n  }",
        "  {\n    \"a\": \"x\",\n    \"b\": 1\n",
        "  {\n    \"a\": [1,\n    \"b\": 1\n  }",
        "  null",
        "  \"text\"",
        "  [1, 2]",
    ] {
        let text = format!("[\n{},\n{damaged},\n{},\n{}\n]", good(1), good(2), good(3));
        let found = texts(&text);
        let is_good = |text: &&String| text.ends_with('}') && text.contains("\"a\": \"x\",\n");
        let last = found.iter().rev().take(2).filter(is_good).count();
        assert_eq!((found.len(), last), (4, 2), "{damaged}: {found:#?}");
    }
    let found = texts("[{\"a\":1},{\"a\":\"x,\"b\":2},{\"a\":3},{\"a\":4}]");
    assert_eq!(found.last().map(String::as_str), Some("{\"a\":4}"), "{found:#?}");
    // In lines nothing reaches over an end of line.
    let found = texts("[\n{\"a\":1},\n{\"a\":\"x,\n{\"a\":[3},\n{\"a\":4},\n{\"a\":5}\n]\n");
    assert_eq!(found, ["{\"a\":1}", "{\"a\":\"x", "{\"a\":[3}", "{\"a\":4}", "{\"a\":5}"]);
}

#[test]
fn long_arrays_are_read_in_pieces() {
    let one_line: Vec<String> =
        (0..40_000).map(|n| format!("{{\"a\":{n},\"s\":\"[{{\"}}")).collect();
    for separator in [",", ",\n\n", "\n,\n  "] {
        let text = format!("[{}]", one_line.join(separator));
        assert_eq!(texts(&text), one_line, "{separator:?}");
    }
}

#[test]
fn an_object_that_holds_rows_is_told_for_what_it_is() {
    for (text, expected) in [
        (r#"{"data":[{"a":1},{"a":2},{"a":3}]}"#, "a list of 3 objects under `data`"),
        (
            r#"{"type":"FeatureCollection","features":[{"x":"]"},{"y":[1,2]}]}"#,
            "`jq -c '.features[]'`",
        ),
        (r#"{"ts":["a","b"],"kw":[1,2]}"#, "one object of columns (`ts`, `kw`, lists of 2 each)"),
        (r#"{"ts":{"0":1,"1":2},"kw":{"0":1,"1":2}}"#, "objects of 2 each"),
    ] {
        let reason = super::shape::of_rows(text.as_bytes()).unwrap_or_default();
        assert!(reason.contains(expected), "{text}: {reason}");
    }
    for row in [
        r#"{"ts":1,"kw":2}"#,
        r#"{"ts":1,"tags":["a","b"],"more":["a","b"]}"#,
        r#"{"ts":1,"place":{"x":1,"y":2}}"#,
        r#"{"ts":1,"phases":[{"kw":1}]}"#,
        "[1,[2",
    ] {
        assert_eq!(super::shape::of_rows(row.as_bytes()), None, "{row}");
    }
}
