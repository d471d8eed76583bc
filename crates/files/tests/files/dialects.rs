//! Separated values as spreadsheets and programs of all countries write them.

use tempfile::TempDir;

use tidecast_files::infer_schema;

use crate::helpers::{file, numbers, open, schema, texts, times};

const MIDNIGHT: i64 = 1_722_470_400_000_000;

/// Content, the numbers in `kw`, and what is said of the file.
type Case<'a> = (&'a str, &'a [Option<f64>], Option<&'a str>);

#[test]
fn delimiters_and_decimal_signs_are_told_from_the_file() {
    let cases: [Case<'_>; 21] = [
        ("ts,kw\n2024,1.5\n2025,2\n", &[Some(1.5), Some(2.0)], None),
        (
            "ts;site;kw\n2024;A;100,5\n2024;A;99\n",
            &[Some(100.5), Some(99.0)],
            Some("separated by `;`; `kw` with decimal comma"),
        ),
        ("sep=;\nts;kw\n2024;100\n", &[Some(100.0)], Some("separated by `;`")),
        ("sep=,\nts,kw\n2024,100\n", &[Some(100.0)], None),
        ("ts\tkw\n2024\t1.5\n", &[Some(1.5)], Some("separated by tabs")),
        ("ts|kw\n2024|1.5\n", &[Some(1.5)], Some("separated by `|`")),
        // Thousands, quoted or not.
        (
            "ts,kw\n2024,\"700\"\n2024,\"1,000\"\n2024,\"1,050\"\n",
            &[Some(700.0), Some(1000.0), Some(1050.0)],
            Some("`kw` with decimal point, thousands separated by `,`"),
        ),
        (
            "ts;kw\n2024;1.234,56\n2024;5\n",
            &[Some(1234.56), Some(5.0)],
            Some("separated by `;`; `kw` with decimal comma, thousands separated by `.`"),
        ),
        (
            "ts,kw\n2024,1 000\n2024,12 500.5\n",
            &[Some(1000.0), Some(12_500.5)],
            Some("`kw` with decimal point, thousands separated by blanks"),
        ),
        (
            "ts,kw\n2024,1'000\n",
            &[Some(1000.0)],
            Some("`kw` with decimal point, thousands separated by apostrophes"),
        ),
        // What only another column tells.
        (
            "ts;a;kw\n2024;0,5;1.234\n2024;1,5;2.345\n",
            &[Some(1234.0), Some(2345.0)],
            Some(
                "separated by `;`; `a` with decimal comma; `kw` with decimal comma, thousands separated by `.`",
            ),
        ),
        (
            "ts,kw\n2024,1.234\n2024,5.678\n",
            &[Some(1.234), Some(5.678)],
            Some("`kw`: `1.234` is read as 1.234, though it may be 1234"),
        ),
        // A delimiter at the lines' ends, one or several, and in the header, too.
        ("ts,kw\n2024,100,\n2024,110,\n", &[Some(100.0), Some(110.0)], None),
        ("ts,kw,,\n2024,100,,\n2024,110\n", &[Some(100.0), Some(110.0)], None),
        ("ts,kw\n2024,100,,,\n,,,,\n2024,110\n", &[Some(100.0), Some(110.0)], None),
        // Blank lines, blanks, and all line ends.
        ("\n  \nts , kw\n\n2024, 100 \n   \n2024,NA\n", &[Some(100.0), None], None),
        ("ts,kw\r\n2024,1\r\n\r\n2024,2\r\n", &[Some(1.0), Some(2.0)], None),
        ("ts,kw\r2024,1\r2024,2", &[Some(1.0), Some(2.0)], None),
        ("\u{FEFF}kw,ts\n1,2024\n", &[Some(1.0)], None),
        ("kw\n1\n2\n", &[Some(1.0), Some(2.0)], None),
        ("kw,note\n1,\"two\nlines, \"\"quoted\"\"\"\n2,\n", &[Some(1.0), Some(2.0)], None),
    ];
    let folder = TempDir::new().unwrap();
    for (content, expected, said) in cases {
        let path = file(&folder, "a.csv", content.as_bytes());
        assert_eq!(numbers(&path, "kw").unwrap(), (expected.to_vec(), vec![]), "{content:?}");
        let inferred = infer_schema(&path).unwrap();
        assert_eq!(inferred.dialect.as_deref(), said, "{content:?}");
        assert!(inferred.may_be_numeric("kw"), "{content:?}");
        let source = open(&path, &schema(&[("kw", arrow::datatypes::DataType::Float64)])).unwrap();
        // Of columns that are not asked for as numbers nothing is said.
        let said = said.map(|said| said.replace("`a` with decimal comma; ", ""));
        assert_eq!(source.dialect(), said.as_deref(), "{content:?}");
    }
}

#[test]
fn the_same_content_is_read_whatever_the_file_is_called_and_encoded_in() {
    let content = "ts;site;kw\n2024-08-01 00:00;µ ü;1,5\n";
    let folder = TempDir::new().unwrap();
    let little: Vec<u8> = "\u{FEFF}"
        .encode_utf16()
        .chain(content.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let big: Vec<u8> = "\u{FEFF}"
        .encode_utf16()
        .chain(content.encode_utf16())
        .flat_map(u16::to_be_bytes)
        .collect();
    for (name, bytes) in [
        ("a.csv", content.as_bytes()),
        ("a.tsv", content.as_bytes()),
        ("a.txt", content.as_bytes()),
        ("a.csv", &little),
        ("a.csv", &big),
    ] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, bytes).unwrap();
        let packed = gzip.finish().unwrap();
        // Gzip is told by its bytes: the name may say it or not, rightly or not.
        for (name, bytes) in [
            (name.to_owned(), bytes),
            (name.to_owned(), &packed),
            (format!("{name}.gz"), &packed),
            (format!("{name}.gz"), bytes),
        ] {
            let path = file(&folder, &name, bytes);
            assert_eq!(texts(&path, "site").unwrap().0, [Some("µ ü".to_owned())], "{name}");
            assert_eq!(numbers(&path, "kw").unwrap().0, [Some(1.5)], "{name}");
            assert_eq!(times(&path, "ts").unwrap().0, [Some(MIDNIGHT)], "{name}");
        }
    }
}

/// Content, and the errors of the rows that cannot be used.
#[test]
fn a_row_that_cannot_be_used_is_named_with_its_line() {
    type Case<'a> = (&'a [u8], &'a [Option<f64>], &'a [&'a str]);
    let cases: [Case<'_>; 9] = [
        (
            b"ts,kw\n1,5\n1\n1,2,3\n",
            &[Some(5.0)],
            &["line 3: has 1 fields, the header has 2", "line 4: has 3 fields, the header has 2"],
        ),
        (
            b"ts,kw\n1,5 %\n1,\xE2\x82\xAC 7\n1,$1\n1,6\n",
            &[Some(6.0)],
            &[
                "line 2: `5 %` in column `kw` is no DOUBLE: it has a per cent sign",
                "line 3: `€ 7` in column `kw` is no DOUBLE: it has a currency sign",
                "line 4: `$1` in column `kw` is no DOUBLE: it has a currency sign",
            ],
        ),
        // One style for a column.
        (
            b"ts;kw\n1;1,5\n1;2,5\n1;1.5\n",
            &[Some(1.5), Some(2.5)],
            &["line 4: `1.5` in column `kw` is no DOUBLE"],
        ),
        (
            b"ts,kw\n1,5\n\0\0\0\n1,6\n",
            &[Some(5.0), Some(6.0)],
            &["line 3: has 1 fields, the header has 2"],
        ),
        (b"ts,kw\n1,5\n\0,\0\n", &[Some(5.0)], &["line 3: holds NUL bytes; expected text"]),
        (
            b"ts,kw\n\xB5,5\n1,6\n",
            &[Some(6.0)],
            &[
                "line 2: is not UTF-8: byte 0xB5 in field 1; if it is Windows-1252 (Latin-1), convert it with `iconv -f WINDOWS-1252 -t UTF-8`",
            ],
        ),
        // A quote that is left open costs its own line.
        (
            b"note,kw\na,1\n\"5 inch,2\nb,3\nc,4\n",
            &[Some(1.0), Some(3.0), Some(4.0)],
            &["line 3: a quote that is opened in it is not closed; expected `\"` in pairs"],
        ),
        (
            b"kw,note\n1,a\n2,\"b\n3,c\n",
            &[Some(1.0), Some(3.0)],
            &["line 3: a quote that is opened in it is not closed; expected `\"` in pairs"],
        ),
        (
            b"kw,note\n1,a\n2,\"b\n3,c\n4,\"d\"\n5,e\n",
            &[Some(1.0), Some(3.0), Some(4.0), Some(5.0)],
            &[
                "line 3: a quote that is opened in it is closed on another line, where the fields do not fit the header; expected `\"` in pairs",
            ],
        ),
    ];
    let folder = TempDir::new().unwrap();
    for (content, expected, errors) in cases {
        let path = file(&folder, "a.csv", content);
        let shown = String::from_utf8_lossy(content);
        let (found, bad) = numbers(&path, "kw").unwrap();
        assert_eq!(found, expected, "{shown}");
        assert_eq!(bad, errors, "{shown}");
    }
}

/// A swallowed rest of the file would be a day's memory and the data's end.
#[test]
fn an_open_quote_does_not_swallow_a_long_file() {
    let folder = TempDir::new().unwrap();
    let mut csv = "note,kw\n\"open,0\n".to_owned();
    (0..30_000).for_each(|row| csv += &format!("note {row},{row}\n"));
    let (found, bad) = numbers(&file(&folder, "a.csv", csv.as_bytes()), "kw").unwrap();
    assert_eq!((found.len(), bad.len()), (30_000, 1));
}

#[test]
fn a_file_that_cannot_be_read_says_why_and_what_to_do() {
    let folder = TempDir::new().unwrap();
    let cases: [(&str, &[u8], &str); 20] = [
        (
            "a.csv",
            b"ts,kw,kw\n1,2,3\n",
            "has two columns `kw` (columns 2 and 3); give one of them another name in the header",
        ),
        ("a.csv", b"ts, kw ,kw\n1,2,3\n", "has two columns `kw` (columns 2 and 3)"),
        ("a.csv", b"", "is empty; expected a header line"),
        ("a.csv", b"\n \n\n", "is empty; expected a header line"),
        ("a.csv", b"sep=;\n", "is empty; expected a header line"),
        (
            "a.csv",
            b"2024-08-01,100\n2024-08-02,110\n",
            "has no header: its first line holds values (`2024-08-01, 100`); expected the names of the columns, e.g. add a line `ts,value` in front",
        ),
        (
            "a.csv",
            b"ts;K\xFChl;kw\n1;2;3\n",
            "the header on line 1 is not UTF-8: byte 0xFC in field 2; if it is Windows-1252",
        ),
        (
            "a.csv",
            b"PK\x03\x04....",
            "is a ZIP archive or an Excel workbook, which cannot be read; save its sheet as CSV",
        ),
        (
            "a.csv",
            b"\x28\xB5\x2F\xFD....",
            "is compressed by zstd, which cannot be read; unpack it first",
        ),
        ("a.csv", b"PAR1....", "is Parquet, which cannot be read; call it .parquet"),
        (
            "a.csv",
            b"t\0s\0,\0k\0w\0\n\0",
            "is UTF-16 text without a byte order mark, which cannot be read; convert it to UTF-8",
        ),
        ("a.csv", b"\x1F\x8B\x08\0broken", "cannot be read as gzip: it is damaged"),
        ("a.xlsx", b"", "is a spreadsheet, which cannot be read; save its sheet as CSV"),
        ("a.zip", b"", "is a ZIP archive"),
        ("a.csv.zst", b"", "is compressed by zstd"),
        ("a.csv.bz2", b"", "is compressed by bzip2"),
        ("a.feather", b"", "is an Arrow file"),
        ("a.dat", b"", "the extension does not tell the format"),
        ("a.csv", b"time,load\n1,2\n", "has no column `kw`; it has: time, load"),
        ("a.csv", b"ts,KW\n1,2\n", "has no column `kw`; did you mean `KW`?"),
    ];
    for (name, content, expected) in cases {
        let path = file(&folder, name, content);
        let error = numbers(&path, "kw").unwrap_err();
        assert!(error.contains(expected), "{:?}: {error}", String::from_utf8_lossy(content));
    }
}

#[test]
fn a_column_of_which_nothing_was_read_is_not_taken_for_numbers() {
    let folder = TempDir::new().unwrap();
    let inferred = |content: &[u8]| {
        infer_schema(&file(&folder, "a.csv", content))
            .map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), ""))
    };
    assert_eq!(inferred(b"ts,kw\n").unwrap_err(), "`/a.csv`: has a header and no rows");
    assert_eq!(
        inferred(b"ts,kw\n1\n2\n").unwrap_err(),
        "`/a.csv`: none of its first 2 rows can be read; the first: line 2: has 1 fields, the header has 2"
    );
    assert!(inferred(b"2024-08-01,100\n").unwrap_err().contains("has no header"));
    // Years are names of columns, too.
    assert!(inferred(b"1999,2000\n1,2\n").is_ok());
    let unknown = inferred(b"ts,kw\n2024-08-01,\n2024-08-02,NA\n").unwrap();
    assert_eq!(unknown.schema.field(1).data_type(), &arrow::datatypes::DataType::Null);
    assert!(unknown.may_be_numeric("kw"));
    // A name that stands twice is there, and refused where it is asked for.
    assert_eq!(inferred(b"ts,kw,kw\n1,2,3\n").unwrap().schema.fields().len(), 2);
}

/// A sheet in which days to come are listed: their rows are rows without a value.
#[test]
fn rows_without_a_value_are_rows() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a.csv", b"day,units\n2024-01-01,100\n2024-01-02,\n2024-01-03,\n");
    assert_eq!(numbers(&path, "units").unwrap(), (vec![Some(100.0), None, None], vec![]));
    let (days, _) = times(&path, "day").unwrap();
    assert_eq!(days.iter().flatten().count(), 3);
}

#[test]
fn many_columns_and_texts_that_look_like_numbers_are_said_briefly_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let content =
        "ts;version;a;b;c;d;e\n2024;1.234;1,5;2,5;3,5;4,5;5,5\n2024;beta;1,5;2,5;3,5;4,5;5,5\n";
    let inferred = infer_schema(&file(&folder, "a.csv", content.as_bytes())).unwrap();
    let said = "separated by `;`; `a`, `b`, `c` and 2 more with decimal comma";
    assert_eq!(inferred.dialect.as_deref(), Some(said));
}

/// A file sorted by series begins with one that is small, or whole.
#[test]
fn what_shows_only_later_in_the_file_counts_as_well() {
    let folder = TempDir::new().unwrap();
    let mut csv = "site,kw\n".to_owned();
    (0..12_000).for_each(|row| csv += &format!("a,{}\n", row % 900));
    (0..6_000).for_each(|row| csv += &format!("b,\"1,{:03}\"\n", row % 1000));
    let (found, errors) = numbers(&file(&folder, "a.csv", csv.as_bytes()), "kw").unwrap();
    assert_eq!((found.len(), errors), (18_000, vec![]));
    assert_eq!(found[12_000..12_002], [Some(1000.0), Some(1001.0)]);
}
