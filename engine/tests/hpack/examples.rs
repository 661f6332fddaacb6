//! The examples of RFC 7541, Appendix C. Those of C.1 are beside the code of integers.

use ringtide::proto::h2::hpack::{Decoder, Encoder, Indexing};

use crate::support::{decode, entries, hex, texts};

type Fields = &'static [(&'static str, &'static str)];

/// A block, its fields, the entries of the table behind it, and the table's size.
type Step = (&'static str, Fields, Fields, usize);

const DATE_21: &str = "Mon, 21 Oct 2013 20:13:21 GMT";
const DATE_22: &str = "Mon, 21 Oct 2013 20:13:22 GMT";
const COOKIE: &str = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

const REQUESTS: [(Fields, Fields, usize); 3] = [
    (
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
        &[(":authority", "www.example.com")],
        57,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
        &[("cache-control", "no-cache"), (":authority", "www.example.com")],
        110,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
        &[("custom-key", "custom-value"), ("cache-control", "no-cache"), (":authority", "www.example.com")],
        164,
    ),
];

const RESPONSES: [(Fields, Fields, usize); 3] = [
    (
        &[
            (":status", "302"),
            ("cache-control", "private"),
            ("date", DATE_21),
            ("location", "https://www.example.com"),
        ],
        &[
            ("location", "https://www.example.com"),
            ("date", DATE_21),
            ("cache-control", "private"),
            (":status", "302"),
        ],
        222,
    ),
    (
        &[
            (":status", "307"),
            ("cache-control", "private"),
            ("date", DATE_21),
            ("location", "https://www.example.com"),
        ],
        &[
            (":status", "307"),
            ("location", "https://www.example.com"),
            ("date", DATE_21),
            ("cache-control", "private"),
        ],
        222,
    ),
    (
        &[
            (":status", "200"),
            ("cache-control", "private"),
            ("date", DATE_22),
            ("location", "https://www.example.com"),
            ("content-encoding", "gzip"),
            ("set-cookie", COOKIE),
        ],
        &[("set-cookie", COOKIE), ("content-encoding", "gzip"), ("date", DATE_22)],
        215,
    ),
];

#[test]
fn c_2_each_kind_of_field() {
    let steps: [Step; 4] = [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            &[("custom-key", "custom-header")],
            &[("custom-key", "custom-header")],
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], &[], 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], &[], 0),
        ("82", &[(":method", "GET")], &[], 0),
    ];
    for step in steps {
        decodes(&mut Decoder::new(4096), step);
    }
}

#[test]
fn c_3_requests_without_huffman() {
    let mut decoder = Decoder::new(4096);
    let blocks = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    for (block, (fields, entries, size)) in blocks.into_iter().zip(REQUESTS) {
        decodes(&mut decoder, (block, fields, entries, size));
    }
}

#[test]
fn c_4_requests_with_huffman() {
    let mut decoder = Decoder::new(4096);
    let mut encoder = Encoder::new(4096);
    let blocks = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for (block, (fields, entries, size)) in blocks.into_iter().zip(REQUESTS) {
        decodes(&mut decoder, (block, fields, entries, size));
        assert_eq!(encoded(&mut encoder, fields), hex(block));
    }
}

#[test]
fn c_5_responses_without_huffman_in_a_small_table() {
    let mut decoder = Decoder::new(4096);
    shrink(&mut decoder);
    let blocks = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
         474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
         666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
         3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    for (block, (fields, entries, size)) in blocks.into_iter().zip(RESPONSES) {
        decodes(&mut decoder, (block, fields, entries, size));
    }
}

#[test]
fn c_6_responses_with_huffman_in_a_small_table() {
    let mut decoder = Decoder::new(4096);
    shrink(&mut decoder);
    let mut encoder = Encoder::new(256);
    let mut size_update = Vec::new();
    encoder.begin(&mut size_update);
    assert_eq!(size_update, hex("3fe1 01"));
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
         63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    for (block, (fields, entries, size)) in blocks.into_iter().zip(RESPONSES) {
        decodes(&mut decoder, (block, fields, entries, size));
        // The encoder uses the Huffman code only where it is shorter; the one of "307" is as long.
        let expected = if fields[0].1 == "307" { "4803 3330 37c1 c0bf" } else { block };
        assert_eq!(encoded(&mut encoder, fields), hex(expected));
    }
}

/// The examples have a table of 256 bytes.
fn shrink(decoder: &mut Decoder) {
    assert_eq!(decode(decoder, &hex("3fe1 01")), Ok(vec![]));
}

fn decodes(decoder: &mut Decoder, (block, fields, table, size): Step) {
    assert_eq!(decode(decoder, &hex(block)), Ok(texts(fields)));
    assert_eq!(decoder.table_size(), size);
    assert_eq!(entries(decoder), texts(table));
}

fn encoded(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Add, &mut out);
    }
    out
}
