//! The report's promises: five whole files whatever a run was like, a page that says everything and needs nothing but
//! itself, pictures that decode and show the digits pixel by pixel, and a failure that names its file.

use base64::prelude::{BASE64_STANDARD, Engine};
use mnist_wgpu::data::{digits, synthetic};
use mnist_wgpu::evaluation::{Confusion, Mistake, Verdict};
use mnist_wgpu::history::Row;
use mnist_wgpu::report::{Filters, Heading, Material, ReportError, confusion, curves, filters, mistakes, page, write};
use std::fs;
use std::io::Cursor;
use tempfile::tempdir;

/// Of a digit.
const PIXELS: usize = 28 * 28;

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
    confused_by(10)
}

fn confused_by(classes: usize) -> Confusion {
    let mut counts = vec![0; classes * classes];
    for (class, row) in counts.chunks_exact_mut(classes).enumerate() {
        row[(class + 3) % classes] = class as u64; // class 0 makes no mistake
        row[class] = 970 + class as u64;
    }
    Confusion::new(classes, counts)
}

/// Digits taken for the next one.
fn wrong(count: usize) -> Vec<(Mistake, Vec<u8>)> {
    let digits = synthetic(count, 0, 1).train;
    let verdict = |truth| Verdict { guess: (truth + 1) % 10, confidence: 0.874, runner_up: Some((truth, 0.1)) };
    let mistake = |place: usize| {
        let truth = digits.labels[place];
        let image = digits.pixels[place * PIXELS..][..PIXELS].to_vec();
        (Mistake { place, truth, verdict: verdict(truth), loss: 2.0 }, image)
    };
    (0..count).map(mistake).collect()
}

/// Hands a material with nothing odd about it to `test`.
fn with_material<T>(test: impl FnOnce(&mut Material) -> T) -> T {
    let (history, classes, confusion, mistakes) = (history(10), digits(), confused(), wrong(45));
    let weights: Vec<f32> = (0..32 * 9).map(|i| (i as f32).sin()).collect();
    let facts = [("Data set", "mnist"), ("<b>Device</b>", "\"A & B\"")].map(|(name, value)| (name.into(), value.into()));
    test(&mut Material {
        title: "run 7 <script>",
        warning: WARNING,
        facts: &facts,
        history: &history,
        test_loss: 0.031337,
        test_accuracy: 0.9906,
        classes: &classes,
        confusion: &confusion,
        shape: [1, 28, 28],
        mistakes: &mistakes,
        augmented: &[],
        filters: Some(Filters { shape: [32, 1, 3, 3], weights: &weights }),
    })
}

fn matrix(heading: Heading, confusion: &Confusion, classes: &[String]) -> Vec<u8> {
    with_material(|material| confusion::png(heading, &Material { confusion, classes, ..*material })).unwrap()
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
    let rest = ["Data set", "mnist", "<bdi>4</bdi> → <bdi>5</bdi>", "87%", "weights from −1.000 to 1.000"];
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
fn the_learning_rate_is_drawn_where_it_changes() {
    let drawn = |rates: [f64; 3]| {
        let mut history = history(3);
        history.iter_mut().zip(rates).for_each(|(row, rate)| row.learning_rate = rate);
        let page = with_material(|material| page::html(&Material { history: &history, ..*material })).unwrap();
        page.contains("Learning rate at each epoch")
    };
    assert!(!drawn([0.01; 3]) && drawn([0.01, 0.01, 0.001]));
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
    mistake[0].1 = vec![0; PIXELS];
    (mistake[0].1[0], mistake[0].1[3 * 28 + 5]) = (33, 77);
    let png = with_material(|material| mistakes::png(HEADING, &Material { mistakes: &mistake, ..*material })).unwrap();
    let (width, pixels) = decoded(&png);
    let place = |grey: u8| pixels.iter().position(|pixel| *pixel == [grey; 3]).map(|at| (at % width, at / width)).unwrap();
    let (corner, mark) = (place(33), place(77));
    assert_eq!((mark.0 - corner.0, mark.1 - corner.1), (5 * 6, 3 * 6));
    assert_eq!((count(&png, [33; 3]), count(&png, [77; 3])), (6 * 6, 6 * 6));
}

#[test]
fn no_mistakes_is_said() {
    let none = with_material(|material| mistakes::png(HEADING, &Material { mistakes: &[], ..*material }));
    check_picture("no mistakes", &none.unwrap());
    let page = with_material(|material| page::html(&Material { mistakes: &[], ..*material })).unwrap();
    assert!(page.contains("No mistakes."));
}

#[test]
fn a_rare_mistake_is_seen_beside_a_full_row() {
    let mut counts = vec![0; 100];
    counts[44] = 9999;
    let without = matrix(HEADING, &Confusion::new(10, counts.clone()), &digits());
    counts[49] = 1;
    let with = matrix(HEADING, &Confusion::new(10, counts), &digits());
    let empty = [0xf4, 0xf5, 0xf7]; // a cell's ground: the grid's colour, 0.4 opaque
    assert!(count(&without, empty) > count(&with, empty) + 2500, "a cell of 58 x 58 pixels changes colour");
}

/// Names that a page must escape, that no font has, that are too long, and plain ones.
fn names(count: usize) -> Vec<String> {
    let odd = ["<b>&\"x\"</b>", "\u{72ac}\u{1f415}", "bell \u{7}", "a name that is longer than any column could be", ""];
    (0..count).map(|class| odd.get(class).map_or(format!("class {class}"), |name| name.to_string())).collect()
}

#[test]
fn any_number_of_classes_is_drawn_and_a_page_of_a_thousand_stays_small() {
    for classes in [1, 2, 12, 13, 24, 25, 47, 60, 61, 1000] {
        let names = names(classes);
        for confusion in [confused_by(classes), Confusion::new(classes, vec![999; classes * classes])] {
            check_picture(&format!("{classes} classes"), &matrix(HEADING, &confusion, &names));
            let of = |material: &mut Material| {
                page::html(&Material { classes: &names, confusion: &confusion, mistakes: &[], ..*material })
            };
            let page = with_material(of).unwrap();
            assert!(page.len() < 1_500_000, "{classes} classes: {} bytes", page.len());
            assert!(!page.contains("<b>&"), "a name is not escaped");
            let last = names.last().filter(|name| name.starts_with("class"));
            assert!(last.is_none_or(|name| page.contains(name)), "the last class is on the page, in the table at least");
            let left_out = page.contains(&format!("of {classes} classes the 40 with the most mistakes"));
            assert_eq!(left_out, classes > 60, "{classes} classes");
        }
    }
}

#[test]
fn of_many_classes_those_with_the_most_mistakes_are_in_the_matrix() {
    let mut counts = vec![0; 100 * 100];
    (0..100).for_each(|class| counts[class * 101] = 50);
    (counts[97 * 100 + 3], counts[5 * 100 + 6]) = (20, 1);
    let (names, confusion) = (names(100), Confusion::new(100, counts));
    let of = |material: &mut Material| page::html(&Material { classes: &names, confusion: &confusion, ..*material });
    let page = with_material(of).unwrap();
    let drawn = |cell: &str| page.contains(&format!("<title>{cell}"));
    assert!(drawn("class 97 taken for a name that is…: 20, 28.57% of its row") && drawn("class 5 taken for class 6: 1"));
    assert!(!drawn("class 99 taken for class 99"), "a class without mistakes takes the place of one with");
}

#[test]
fn colours_and_sizes_of_mistakes_are_those_of_their_images() {
    for shape in [[3, 20, 24], [1, 1, 1], [3, 256, 100], [1, 5, 256]] {
        let [channels, height, width] = shape;
        // Of three planes the first is full: red.
        let image: Vec<u8> = (0..channels * height * width).map(|at| if at < height * width { 255 } else { 0 }).collect();
        let verdict = Verdict { guess: 3, confidence: 0.5, runner_up: None };
        let mistakes = [(Mistake { place: 0, truth: 0, verdict, loss: 1.0 }, image)];
        let names = names(5);
        let draw = |material: &mut Material| {
            mistakes::png(HEADING, &Material { classes: &names, shape, mistakes: &mistakes, ..*material })
        };
        let png = with_material(draw).unwrap();
        check_picture("a mistake", &png);
        let red = count(&png, [255, 0, 0]);
        assert!(channels == 1 || red >= height * width, "{shape:?}: {red} red pixels");
    }
}

#[test]
fn captions_shorten_names_and_alt_texts_have_them_whole() {
    let (long, turned) = ("long ".repeat(40), "\u{202e}turned \u{1b}[31m".to_owned());
    let verdict = Verdict { guess: 1, confidence: 0.5, runner_up: None };
    let mistakes = [(Mistake { place: 0, truth: 0, verdict, loss: 1.0 }, vec![0; PIXELS])];
    let (names, confusion) = ([long.clone(), turned], confused_by(2));
    let of = |material: &mut Material| {
        page::html(&Material { classes: &names, confusion: &confusion, mistakes: &mistakes, ..*material })
    };
    let page = with_material(of).unwrap();
    assert_eq!(between(&page, "alt=\"", '"')[0], format!("{long}, taken for turned [31m"));
    let caption = between(&page, "<bdi>", '<')[0];
    assert!(caption.starts_with("long long") && caption.ends_with('…') && caption.chars().count() < 40, "{caption}");
    assert!(!page.contains(['\u{202e}', '\u{1b}']), "a name steers what follows");
}

#[test]
fn a_warning_stands_on_the_pictures_and_the_page() {
    let warned = Heading { warning: WARNING, ..HEADING };
    let (history, confused) = (history(3), confused());
    for (heading, shown) in [(warned, true), (HEADING, false)] {
        let pictures = [curves::png(heading, &history).unwrap(), matrix(heading, &confused, &digits())];
        assert_eq!(pictures.map(|png| count(&png, WARNING_GROUND) > 10_000), [shown; 2]);
    }
    let page = with_material(|material| page::html(&Material { warning: None, ..*material })).unwrap();
    assert!(!page.contains("role=\"alert\""));
}

#[test]
fn odd_titles_are_drawn() {
    for title in ["", "bell \u{7} and \u{ffff} & <text>", "数字 → 𝟗", &"w".repeat(1000)] {
        let heading = Heading { title, warning: Some(title) };
        check_picture(title, &matrix(heading, &confused(), &digits()));
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
