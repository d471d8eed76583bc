use super::*;

fn decided(values: &[&str], of_file: Option<Decimal>, delimiter: u8) -> Decision {
    let mut evidence = Evidence::default();
    values.iter().for_each(|value| evidence.add(value));
    evidence.decide(of_file, Some(delimiter))
}

/// Values, delimiter, what they are; `None`: no number in the column's style.
#[test]
fn a_column_decides_what_its_marks_are() {
    type Case<'a> = (&'a [&'a str], u8, &'a [Option<f64>]);
    let cases: [Case<'_>; 21] = [
        (&["1.5", "2"], b',', &[Some(1.5), Some(2.0)]),
        (&["100,5", "99"], b';', &[Some(100.5), Some(99.0)]),
        (&["700", "1,000", "1,050"], b',', &[Some(700.0), Some(1000.0), Some(1050.0)]),
        (&["1,000,000", "2,500"], b';', &[Some(1e6), Some(2500.0)]),
        (&["1,234.5", "1,234"], b',', &[Some(1234.5), Some(1234.0)]),
        (&["1.234,5", "1.234"], b';', &[Some(1234.5), Some(1234.0)]),
        (&["1.234.567", "1.234"], b',', &[Some(1_234_567.0), Some(1234.0)]),
        (&["1.234", "1.2"], b',', &[Some(1.234), Some(1.2)]),
        (&["1,234", "1,2"], b'\t', &[Some(1.234), Some(1.2)]),
        (&["0.123", "1.234"], b',', &[Some(0.123), Some(1.234)]),
        (&["0,123", "1,234"], b',', &[Some(0.123), Some(1.234)]),
        (&["700", "1.000", "1.050"], b',', &[Some(700.0), Some(1000.0), Some(1050.0)]),
        (&["1 000", "12 500,5"], b';', &[Some(1000.0), Some(12_500.5)]),
        (&["1\u{202F}000", "12\u{A0}500.5"], b',', &[Some(1000.0), Some(12_500.5)]),
        (&["1'000", "1’234.5"], b',', &[Some(1000.0), Some(1234.5)]),
        (&["1_000", "1_234.5"], b',', &[Some(1000.0), Some(1234.5)]),
        (&["1,00,000", "12,34,567.5"], b',', &[Some(1e5), Some(1_234_567.5)]),
        (
            &["-1,5", "+1,5", "\u{2212}2,5", "1,5e3"],
            b';',
            &[Some(-1.5), Some(1.5), Some(-2.5), Some(1500.0)],
        ),
        (&["1,5", "2,5", "1.5"], b';', &[Some(1.5), Some(2.5), None]),
        (
            &["1.5", "€ 2", "3 %", "$4", "0x10", "1-2", "1:30"],
            b',',
            &[Some(1.5), None, None, None, None, None, None],
        ),
        (&["1234.567", "1.234"], b',', &[Some(1234.567), Some(1.234)]),
    ];
    for (values, delimiter, expected) in cases {
        let Decision { style, doubt } = decided(values, None, delimiter);
        let numbers: Vec<_> = values.iter().map(|value| style.number(value)).collect();
        assert_eq!(numbers, expected, "{values:?} as {style}");
        assert_eq!(doubt, None, "{values:?}");
    }
}

#[test]
fn what_a_column_cannot_tell_the_file_tells_and_else_it_is_said() {
    let decision = decided(&["1.234", "5.678"], None, b',');
    assert_eq!(decision.style.number("1.234"), Some(1.234));
    assert_eq!(decision.doubt.as_deref(), Some("`1.234` is read as 1.234, though it may be 1234"));

    let decision = decided(&["1.234", "5.678"], Some(Decimal::Comma), b';');
    assert_eq!((decision.style.number("1.234"), decision.doubt), (Some(1234.0), None));

    let decision = decided(&["1,234", "5,678"], None, b',');
    assert_eq!(decision.style.number("1,234"), Some(1234.0));
    assert!(decision.doubt.is_some());

    let decision = decided(&["1,234", "5,678"], None, b';');
    assert_eq!(decision.style.number("1,234"), Some(1.234));
    assert!(decision.doubt.is_some());

    // Whole numbers only, and another column has decimal commas: so may this
    // one behind the sample.
    let decision = decided(&["12", "13"], Some(Decimal::Comma), b';');
    assert_eq!(decision.style.number("1,5"), Some(1.5));
}

#[test]
fn what_is_not_grouped_in_threes_is_no_number() {
    let style = decided(&["1,000", "700"], None, b',').style;
    for text in
        ["1,0", "10,00", "1000,000", "1,,000", ",100", "1,000,", "0,100", "1,000 000", "", "-"]
    {
        assert_eq!(style.number(text), None, "{text}");
    }
    assert_eq!(style.number("1000"), Some(1000.0));
    assert!(style.number("NaN").is_some_and(f64::is_nan));
}
