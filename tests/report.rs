//! The report's promises: five whole files whatever a run was like, a page that says everything and needs nothing but itself,
//! pictures that decode and show the digits pixel by pixel, and a failure that names its file.

use base64::prelude::{BASE64_STANDARD, Engine};
use mnist_wgpu::data::{PIXELS, synthetic};
use mnist_wgpu::evaluation::{Confusion, Mistake, Verdict};
use mnist_wgpu::history::Row;
use mnist_wgpu::report::{Filters, Heading, Material, ReportError, confusion, curves, filters, mistakes, page, write};
use std::fs;
use std::io::Cursor;
use tempfile::tempdir;

const HEADING: Heading = Heading { title: "a run", warning: None };
const WARNING: Option<&str> = Some("the digits were <synthetic>");
/// The ground that a warning stands on.
const WARNING_GROUND: [u8; 3] = [0xff, 0xf0, 0xd6];

fn row(epoch: u32, loss: f64, accuracy: f64) -> Row {
    Row {
        epoch,
        train_loss: 1.1 * loss,
        train_accuracy: 0.9 * accuracy,
        val_loss: loss,
        val_accuracy: accuracy,
        seconds: 5.25,
        images_per_second: 10_285.0,
        learning_rate: f64::from(0.01f32),
    }
}

fn history(epochs: u32) -> Vec<Row> {
    (1..=epochs).map(|epoch| row(epoch, 0.1 / f64::from(epoch), 1.0 - 0.03 / f64::from(epoch))).collect()
}

fn confused() -> Confusion {
    let mut counts = [[0; 10]; 10];
    for (class, row) in counts.iter_mut().enumerate() {
        row[class] = 970 + class as u64;
        row[(class + 3) % 10] = class as u64; // class 0 makes no mistake
    }
    Confusion { counts }
}

/// Digits taken for the next one.
fn wrong(count: usize) -> Vec<(Mistake, [u8; PIXELS])> {
    let (digits, _) = synthetic(count, 0, 1);
    let verdict =
        |truth| Verdict { guess: (truth + 1) % 10, confidence: 0.874, runner_up: truth, runner_up_confidence: 0.1 };
    let mistake = |place: usize| {
        let truth = digits.labels[place];
        let image = digits.pixels[place * PIXELS..][..PIXELS].try_into().unwrap();
        (Mistake { place, truth, verdict: verdict(truth), loss: 2.0 }, image)
    };
    (0..count).map(mistake).collect()
}

/// Hands a material with nothing odd about it to `test`.
fn with_material<T>(test: impl FnOnce(&mut Material) -> T) -> T {
    let (history, confusion, mistakes) = (history(10), confused(), wrong(45));
    let weights: Vec<f32> = (0..32 * 9).map(|i| (i as f32).sin()).collect();
    let facts = [("Data set", "mnist"), ("<b>Device</b>", "\"A & B\"")].map(|(name, value)| (name.into(), value.into()));
    test(&mut Material {
        title: "run 7 <script>",
        warning: WARNING,
        facts: &facts,
        history: &history,
        test_loss: 0.031337,
        test_accuracy: 0.9906,
        confusion: &confusion,
        mistakes: &mistakes,
        filters: Some(Filters { shape: [32, 1, 3, 3], weights: &weights }),
    })
}

/// Width, and the pixels without alpha.
fn decoded(png: &[u8]) -> (usize, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(frame.color_type, png::ColorType::Rgba);
    bytes.truncate(frame.buffer_size());
    (frame.width as usize, bytes.chunks_exact(4).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
}

fn count(png: &[u8], colour: [u8; 3]) -> usize {
    decoded(png).1.into_iter().filter(|pixel| *pixel == colour).count()
}

/// Decodes, is of a sensible size, and shows something.
fn check_picture(what: &str, png: &[u8]) {
    let (width, pixels) = decoded(png);
    let height = pixels.len() / width;
    assert!((600..2500).contains(&width) && (100..2500).contains(&height), "{what}: {width} x {height}");
    assert!(pixels.iter().any(|pixel| *pixel != pixels[0]), "{what} is blank");
}

/// What stands between `start` and `end`, each time.
fn between<'a>(text: &'a str, start: &str, end: char) -> Vec<&'a str> {
    text.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

#[test]
fn a_report_is_a_page_and_four_pictures() {
    let folder = tempdir().unwrap();
    let inside = folder.path().join("runs/7"); // is made
    with_material(|material| write(&inside, material)).unwrap();
    for name in ["curves.png", "confusion.png", "mistakes.png", "filters.png"] {
        check_picture(name, &fs::read(inside.join(name)).unwrap());
    }
    assert!(fs::read_to_string(inside.join("report.html")).unwrap().ends_with("</html>"));
    assert_eq!(fs::read_dir(&inside).unwrap().count(), 5, "nothing temporary is left");
}

#[test]
fn the_page_says_every_figure_and_fact() {
    let page = with_material(|material| page::html(material)).unwrap();
    let headlines = ["99.06%", "0.0313", "99.70%", "after epoch 10", "in 52.5 s"];
    let epochs = ["0.110000", "0.873000", "0.100000", "0.970000", "5.2", "10285", ">0.01<"];
    let classes = ["970", "100.00%", "99.08%"]; // class 9: 979 of 988
    let rest = ["Data set", "mnist", "4 → 5", "87%", "weights from −1.000 to 1.000"];
    for text in [&headlines[..], &epochs, &classes, &rest].concat() {
        assert!(page.contains(text), "{text} is missing");
    }
    assert_eq!(between(&page, "<figcaption><b>", '<').len(), 40 + 32, "mistakes and kernels");
}

#[test]
fn what_others_named_is_text_on_the_page() {
    let page = with_material(|material| page::html(material)).unwrap();
    for raw in ["<script", "<synthetic>", "<b>Device", "\"A & B\""] {
        assert!(!page.contains(raw), "{raw} is not escaped");
    }
    for text in ["run 7 &#60;script&#62;", "the digits were &#60;synthetic&#62;", "&#60;b&#62;Device", "&#34;A &#38; B&#34;"]
    {
        assert!(page.contains(text), "{text} is missing");
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = with_material(|material| page::html(material)).unwrap();
    for outside in ["http", "url(", "@import", "<iframe", "<object", "<use"] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    assert!(between(&page, "href=\"", '"').iter().all(|target| *target == "data:,"));
    let sources = between(&page, "src=\"", '"');
    assert_eq!(sources.len(), 40 + 32);
    for source in sources {
        let png = source.strip_prefix("data:image/png;base64,").expect("pictures are embedded");
        let (width, pixels) = decoded(&BASE64_STANDARD.decode(png).unwrap());
        assert!([(28, PIXELS), (3, 9)].contains(&(width, pixels.len())));
    }
}

#[test]
fn any_history_is_drawn() {
    let flat = |loss, accuracy| (1..=10).map(|epoch| row(epoch, loss, accuracy)).collect::<Vec<_>>();
    let mut huge = history(10);
    huge[0].train_loss = 3e38;
    let mut broken = history(10);
    (broken[3].train_loss, broken[4].val_loss) = (f64::NAN, f64::INFINITY);
    let histories = [
        ("1 epoch", history(1)),
        ("2 epochs", history(2)),
        ("1000 epochs", history(1000)),
        ("resumed", history(40)[20..].to_vec()),
        ("untrained", flat(std::f64::consts::LN_10, 0.1)),
        ("perfect", flat(0.0, 1.0)),
        ("nothing right", flat(2.3, 0.0)),
        ("a huge loss", huge),
        ("the largest losses", flat(f64::MAX / 2.0, 0.1)),
        ("the smallest losses", flat(f64::MIN_POSITIVE, 0.1)),
        ("broken lines", broken),
        ("all broken", flat(f64::NAN, f64::NAN)),
        ("no epoch", Vec::new()),
    ];
    for (what, history) in histories {
        check_picture(what, &curves::png(HEADING, &history).unwrap());
        let page = with_material(|material| page::html(&Material { history: &history, ..*material })).unwrap();
        let drawings = between(&page, "<path class=\"", '/').concat();
        assert!(!drawings.contains("NaN") && !drawings.contains("inf"), "{what}: a place that is no number");
    }
}

#[test]
fn a_loss_that_is_no_number_breaks_the_line() {
    let mut history = history(10);
    history[3].train_loss = f64::NAN;
    let page = with_material(|material| page::html(&Material { history: &history, ..*material })).unwrap();
    let lines = between(&page, "<path class=\"train\" d=\"", '"'); // legend and line of the loss, of the accuracy
    assert_eq!(lines.iter().map(|line| line.matches('M').count()).collect::<Vec<_>>(), [1, 2, 1, 1]);
}

#[test]
fn kernels_of_any_shape_are_drawn_and_what_is_left_out_is_said() {
    for shape in [[1, 1, 1, 1], [32, 1, 3, 3], [5, 3, 5, 5], [70, 20, 5, 5], [3, 2, 4, 7], [2, 16, 28, 28], [0, 1, 3, 3]] {
        let mut weights: Vec<f32> = (0..shape.iter().product()).map(|i| (i as f32).sin()).collect();
        check_picture("kernels", &filters::png(HEADING, Some(Filters { shape, weights: &weights })).unwrap());
        weights.fill(0.0);
        weights.iter_mut().take(2).for_each(|weight| *weight = f32::NAN);
        check_picture("zeros", &filters::png(HEADING, Some(Filters { shape, weights: &weights })).unwrap());
    }
    check_picture("none", &filters::png(HEADING, None).unwrap());
    let weights = vec![1.0; 70 * 20 * 25];
    let kernels = Some(Filters { shape: [70, 20, 5, 5], weights: &weights });
    let page = with_material(|material| page::html(&Material { filters: kernels, ..*material })).unwrap();
    assert!(page.contains("64 of 70 kernels of the first layer, 5×5; of each, 16 of 20 channels"));
}

#[test]
fn the_scale_of_kernels_is_centred_at_zero() {
    // White is the middle of the scale: what is 0 must be the same whatever else there is.
    let middle = |weights: [f32; 3]| {
        let kernels = Some(Filters { shape: [1, 1, 1, 3], weights: &weights });
        let page = with_material(|material| page::html(&Material { filters: kernels, ..*material })).unwrap();
        let sources = between(&page, "src=\"data:image/png;base64,", '"');
        decoded(&BASE64_STANDARD.decode(sources.last().unwrap()).unwrap()).1
    };
    let (positive, negative) = (middle([0.0, 0.5, 1.0]), middle([0.0, -0.5, -1.0]));
    assert_eq!(positive[0], negative[0]);
    assert!(positive[0].iter().all(|channel| *channel > 230), "0 is white, not {:?}", positive[0]);
    assert!(positive[2][2] > positive[2][0], "positive is blue");
    assert!(negative[2][0] > negative[2][2], "negative is red");
}

#[test]
fn digits_are_enlarged_without_blur() {
    let mut mistake = wrong(1);
    mistake[0].1 = [0; PIXELS];
    (mistake[0].1[0], mistake[0].1[3 * 28 + 5]) = (33, 77);
    let png = mistakes::png(HEADING, &mistake).unwrap();
    let (width, pixels) = decoded(&png);
    let place = |grey: u8| pixels.iter().position(|pixel| *pixel == [grey; 3]).map(|at| (at % width, at / width)).unwrap();
    let (corner, mark) = (place(33), place(77));
    assert_eq!((mark.0 - corner.0, mark.1 - corner.1), (5 * 6, 3 * 6));
    assert_eq!((count(&png, [33; 3]), count(&png, [77; 3])), (6 * 6, 6 * 6));
}

#[test]
fn no_mistakes_is_said() {
    check_picture("no mistakes", &mistakes::png(HEADING, &[]).unwrap());
    let page = with_material(|material| page::html(&Material { mistakes: &[], ..*material })).unwrap();
    assert!(page.contains("No mistakes."));
}

#[test]
fn a_rare_mistake_is_seen_beside_a_full_row() {
    let mut counts = [[0; 10]; 10];
    counts[4][4] = 9999;
    let without = confusion::png(HEADING, &Confusion { counts }).unwrap();
    counts[4][9] = 1;
    let with = confusion::png(HEADING, &Confusion { counts }).unwrap();
    let empty = [0xf4, 0xf5, 0xf7]; // a cell's ground: the grid's colour, 0.4 opaque
    assert!(count(&without, empty) > count(&with, empty) + 2500, "a cell of 58 x 58 pixels changes colour");
}

#[test]
fn a_warning_stands_on_the_pictures_and_the_page() {
    let warned = Heading { warning: WARNING, ..HEADING };
    let (history, confused) = (history(3), confused());
    for (heading, shown) in [(warned, true), (HEADING, false)] {
        let pictures = [curves::png(heading, &history).unwrap(), confusion::png(heading, &confused).unwrap()];
        assert_eq!(pictures.map(|png| count(&png, WARNING_GROUND) > 10_000), [shown; 2]);
    }
    let page = with_material(|material| page::html(&Material { warning: None, ..*material })).unwrap();
    assert!(!page.contains("role=\"alert\""));
}

#[test]
fn odd_titles_are_drawn() {
    for title in ["", "bell \u{7} and \u{ffff} & <text>", "数字 → 𝟗", &"w".repeat(1000)] {
        let heading = Heading { title, warning: Some(title) };
        check_picture(title, &confusion::png(heading, &confused()).unwrap());
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let folder = tempdir().unwrap();
    let occupied = folder.path().join("runs");
    fs::write(&occupied, "a file, not a folder").unwrap();
    let error = with_material(|material| write(&occupied, material)).unwrap_err();
    assert!(matches!(error, ReportError::Write { .. }));
    assert!(error.to_string().contains(&occupied.join("curves.png").display().to_string()), "{error}");
    assert_eq!(fs::read_to_string(&occupied).unwrap(), "a file, not a folder");
}
