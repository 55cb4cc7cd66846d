//! Whom the program talks to: nobody who was not asked for.

use crate::harness::*;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tempfile::tempdir;

/// A proxy that lets nobody through: its address, and the first lines of what it was asked.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            heard.lock().unwrap().extend(lines.next().and_then(Result::ok));
            let _ = lines.find(|line| line.as_ref().map_or(true, String::is_empty));
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (address, asked)
}

fn behind(address: &str, folder: &Path) -> Command {
    let mut command = program(folder);
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(variable, address);
    }
    command.env("XDG_CACHE_HOME", folder.join("cache"));
    command
}

#[test]
fn a_proxy_is_honoured_and_offline_no_connection_is_made() {
    let folder = tempdir().unwrap();
    let (address, asked) = proxy();
    let evaluate = ["eval", "builtin", "--device", "cpu", "--dataset", "fashion-mnist"];
    run(behind(&address, folder.path()).args(evaluate)).expect(1, &["Fashion-MNIST", "mirrors", "--data-dir"]);
    let lines = std::mem::take(&mut *asked.lock().unwrap());
    assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with("CONNECT ")), "{lines:?}");

    run(behind(&address, folder.path()).args(evaluate).arg("--offline")).expect(1, &["no mirror may be asked"]);
    let any = ["eval", "builtin", "--device", "cpu", "--offline"];
    run(behind(&address, folder.path()).args(any)).expect(0, &["SYNTHETIC", "no mirror may be asked"]);
    // What is no download has nothing to ask anybody.
    for arguments in [&["devices"][..], &["train", "--help"], &["completions", "bash"]] {
        run(behind(&address, folder.path()).args(arguments)).expect(0, &[]);
    }
    assert_eq!(*asked.lock().unwrap(), [""; 0]);
}
