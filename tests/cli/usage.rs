//! What the program says of its options, and of arguments that cannot be right.

use crate::harness::*;

#[test]
fn help_of_each_subcommand_names_every_option_and_its_default() {
    let cases: [(&str, &[(&str, &str)]); 11] = [
        (
            "train",
            &[
                ("--device", "[default: auto]"),
                ("--remeasure", ""),
                ("--data-dir", "[default: $MNIST_DIR, the user's cache folder, a download]"),
                ("--dataset", "[default: mnist, else synthetic]"),
                ("--offline", ""),
                ("--size", "[default: what most of them have, at most 64]"),
                ("--epochs", "[default: the preset's, 10 of notebook; with --resume those that the run was to have]"),
                ("--preset", "[default: notebook]"),
                ("--batch-size", "[default: 32]"),
                ("--optimizer", "[default: sgd]"),
                ("--momentum", "[default: 0.9]"),
                ("--no-nesterov", ""),
                ("--weight-decay", "[default: 0, of adamw 0.01]"),
                ("--model", "[default: the classic one]"),
                ("--from", ""),
                ("--freeze", ""),
                ("--augment", ""),
                ("--label-smoothing", "[default: 0]"),
                ("--dropout", "[default: 0.5]"),
                ("--seed", "[default: 0]"),
                ("--val-fraction", "[default: 0.1]"),
                ("--lr", "[default: 0.01, of adamw 0.001]"),
                ("--schedule", "[default: constant]"),
                ("--warmup", "[default: 0]"),
                ("--ema", "[default: 0]"),
                ("--patience", ""),
                ("--seeds", ""),
                ("--out", "[default: a new one, runs/DATE-NAME]"),
                ("--force", ""),
                ("--resume", ""),
                ("--checkpoint-every", ""),
                ("--tensorboard", ""),
                ("--quiet", ""),
                ("--tui", ""),
                ("--help", ""),
            ],
        ),
        (
            "eval",
            &[
                ("--device", "[default: auto]"),
                ("--remeasure", ""),
                ("--data-dir", "[default: $MNIST_DIR, the user's cache folder, a download]"),
                ("--dataset", "[default: mnist, else synthetic]"),
                ("--offline", ""),
                ("--mean", "[default: what the file says, else 0]"),
                ("--std", "[default: what the file says, else 1]"),
                ("--split", "[default: test]"),
                ("--json", ""),
                ("--help", ""),
            ],
        ),
        ("compare", &[("--out", ""), ("--force", ""), ("--json", ""), ("--help", "")]),
        (
            "lr-find",
            &[
                ("--device", "[default: auto]"),
                ("--remeasure", ""),
                ("--data-dir", "[default: $MNIST_DIR, the user's cache folder, a download]"),
                ("--dataset", "[default: mnist, else synthetic]"),
                ("--offline", ""),
                ("--size", "[default: what most of them have, at most 64]"),
                ("--preset", "[default: notebook]"),
                ("--batch-size", "[default: 32]"),
                ("--optimizer", "[default: sgd]"),
                ("--momentum", "[default: 0.9]"),
                ("--no-nesterov", ""),
                ("--weight-decay", "[default: 0, of adamw 0.01]"),
                ("--model", "[default: the classic one]"),
                ("--from", ""),
                ("--freeze", ""),
                ("--augment", ""),
                ("--label-smoothing", "[default: 0]"),
                ("--dropout", "[default: 0.5]"),
                ("--seed", "[default: 0]"),
                ("--val-fraction", "[default: 0.1]"),
                ("--lowest", "[default: 0.00001]"),
                ("--highest", "[default: 10]"),
                ("--steps", "[default: 150]"),
                ("--out", ""),
                ("--force", ""),
                ("--json", ""),
                ("--help", ""),
            ],
        ),
        (
            "predict",
            &[
                ("--json", ""),
                ("--picture", "[default: auto]"),
                ("--show", ""),
                ("--force", ""),
                ("--mean", "[default: what the file says, else 0]"),
                ("--std", "[default: what the file says, else 1]"),
                ("--device", "[default: cpu]"),
                ("--remeasure", ""),
                ("--help", ""),
            ],
        ),
        (
            "export",
            &[
                ("--mean", "[default: what the file says, else 0]"),
                ("--std", "[default: what the file says, else 1]"),
                ("--onnx", ""),
                ("--force", ""),
                ("--help", ""),
            ],
        ),
        ("selftest", &[("--device", "[default: gpu]"), ("--json", ""), ("--help", "")]),
        ("devices", &[("--remeasure", ""), ("--json", ""), ("--help", "")]),
        (
            "bench",
            &[
                ("--device", "[default: auto, with --report all]"),
                ("--batch-size", "[default: 32, with --report 32,128,512]"),
                ("--model", "[default: the classic one]"),
                ("--seconds", "[default: 5]"),
                ("--kernels", ""),
                ("--trace", ""),
                ("--report", "[default file: mnist-wgpu-report.md]"),
                ("--force", ""),
                ("--json", ""),
                ("--help", ""),
            ],
        ),
        ("completions", &[("--help", "")]),
        ("man", &[("--help", "")]),
    ];
    let help = run_alone(&["--help"]).expect(0, &[]).stdout;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().map_while(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    assert_eq!(commands.collect::<Vec<_>>(), cases.map(|(name, _)| name), "subcommands");
    for (subcommand, options) in cases {
        let help = run_alone(&[subcommand, "--help"]).expect(0, &[]).stdout;
        // Each option begins a line; the lines that follow belong to it.
        let mut found: Vec<(String, String)> = Vec::new();
        for line in help.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.iter().position(|word| word.starts_with("--")) {
                Some(at) if line.trim_start().starts_with('-') => found.push((words[at].into(), words.join(" "))),
                _ => {
                    if let Some((_, text)) = found.last_mut() {
                        *text += " ";
                        *text += &words.join(" ");
                    }
                }
            }
        }
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, options.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "of {subcommand}");
        for ((name, default), (_, text)) in options.iter().zip(&found) {
            assert!(text.contains(default), "{subcommand} {name}: {text}");
            let defaults = text.matches("[default").count();
            assert_eq!(defaults, usize::from(!default.is_empty()), "{subcommand} {name}: {text}");
            assert!(text.split_whitespace().count() > 2, "{subcommand} {name} is not explained: {text}");
        }
    }
}

#[test]
fn the_help_names_every_subcommand_and_exit_code() {
    let help = run_alone(&["--help"]).expect(0, &[]).stdout;
    for part in ["0 done", "1 failed", "2 bad usage", "130 interrupted"] {
        assert!(help.contains(part), "{part:?} is not in {help}");
    }
    let nothing: [&str; 0] = [];
    run_alone(&nothing).expect(2, &["Usage: mnist-wgpu <COMMAND>", "train"]);
}

#[test]
fn arguments_that_cannot_be_right_are_named() {
    run_alone(&["train", "extra"]).expect(2, &["'extra'"]);
    run_alone(&["train", "--seed"]).expect(2, &["'--seed <SEED>'"]);
    run_alone(&["train", "--lr", "0.1", "--lr", "0.2"]).expect(2, &["'--lr <RATE>'"]);
    run_alone(&["eval"]).expect(2, &["<RUN|FILE>"]);
    run_alone(&["train", "--out", ""]).expect(2, &["'--out <FOLDER>'"]);
    run_alone(&["train", "--out", "net.safetensors"])
        .expect(2, &["--out net.safetensors", "folder", "model.safetensors in it"]);
    run_alone(&["train", "--force"]).expect(2, &["--out <FOLDER>"]);
    run_alone(&["train", "--resume", "run", "--lr", "0.1"]).expect(2, &["'--resume <RUN>'", "'--lr <RATE>'"]);
    run_alone(&["train", "--device", ""]).expect(2, &["--device", "auto, cpu, gpu"]);
}

#[test]
fn a_value_out_of_range_is_named_with_what_was_expected() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("--lr", &["0", "-1", "-0.0", "1e-60", "1e60", "inf", "nan", "abc", ""], "a number above 0"),
        ("--momentum", &["1", "-0.1", "0.99999999999", "nan", "abc"], "a number from 0 to below 1"),
        ("--dropout", &["1", "1.5", "-0.5", "nan", "abc"], "a number from 0 to below 1"),
        ("--val-fraction", &["0", "1", "-0.1", "10", "nan", "abc"], "a number between 0 and 1"),
        ("--epochs", &["0", "-1", "1.5", "100001", "abc", ""], "a whole number from 1 to 100000"),
        ("--batch-size", &["0", "-32", "4097", "99999999999999999999", "abc"], "a whole number from 1 to 4096"),
        ("--checkpoint-every", &["0", "-1", "x"], "a whole number from 1 to 1000000000"),
        ("--seed", &["-1", "0.5", "9223372036854775808", "abc"], "a whole number from 0 to 9223372036854775807"),
    ];
    run_alone(&["bench", "--seconds", "-1"]).expect(2, &["'--seconds <SECONDS>'", "a whole number from 1 to 3600"]);
    run_alone(&["bench", "--batch-size", "32,0"]).expect(2, &["'--batch-size <N>'", "a whole number from 1 to 4096"]);
    for (flag, values, expected) in cases {
        for value in *values {
            let parts = [&format!("'{flag} <"), *expected];
            let ended = run_alone(&["train", flag, value]).expect(2, &parts);
            assert!(value.is_empty() || ended.stderr.contains(&format!("'{value}'")), "{}", ended.stderr);
        }
    }
}
