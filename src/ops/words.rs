//! The text of a layer, such as `conv 32 3 stride 2`: its name, then numbers in a fixed order, then named ones.

use std::ops::Range;
use std::str::FromStr;

/// A text that describes no network, and where in it the fault is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {}", found.as_ref().map_or("the end".into(), |found| format!("`{found}`")))]
pub struct TextError {
    /// Bytes of the text.
    pub at: Range<usize>,
    pub expected: String,
    pub found: Option<String>,
}

/// The words of one layer that are left to read.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    /// Each with its place in the whole text.
    words: Vec<(usize, &'a str)>,
    read: usize,
    /// Where the layer ends.
    end: usize,
    /// How many classes the network is to tell apart.
    pub classes: usize,
}

impl<'a> Words<'a> {
    /// The words of `text`, which begins at byte `start` of the whole.
    pub fn new(text: &'a str, start: usize, classes: usize) -> Self {
        let words = text.split_whitespace().map(|word| (start + word.as_ptr().addr() - text.as_ptr().addr(), word));
        let words: Vec<_> = words.collect();
        let end = words.last().map_or(start, |(at, word)| at + word.len());
        Self { words, read: 0, end, classes }
    }

    /// The next word, if there is one.
    pub fn word(&mut self) -> Option<&'a str> {
        let &(_, word) = self.words.get(self.read)?;
        self.read += 1;
        Some(word)
    }

    /// The error that something else was expected than the word that comes next.
    pub fn expected(&self, expected: impl Into<String>) -> TextError {
        let next = self.words.get(self.read);
        let at = next.map_or(self.end..self.end, |(at, word)| *at..at + word.len());
        TextError { at, expected: expected.into(), found: next.map(|(_, word)| word.to_string()) }
    }

    /// The next word as a number, which is `what`.
    pub fn number<T: FromStr>(&mut self, what: &str) -> Result<T, TextError> {
        let word = self.words.get(self.read).and_then(|(_, word)| word.parse().ok());
        let number = word.ok_or_else(|| self.expected(what))?;
        self.read += 1;
        Ok(number)
    }

    /// The same, or `otherwise` where no word is left or the next is no number.
    pub fn number_or<T: FromStr>(&mut self, otherwise: T) -> T {
        match self.words.get(self.read).map(|(_, word)| word.parse()) {
            Some(Ok(number)) => {
                self.read += 1;
                number
            }
            _ => otherwise,
        }
    }

    /// The number behind the word `name`, if that comes next.
    pub fn named<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, TextError> {
        match self.words.get(self.read) {
            Some((_, word)) if word.eq_ignore_ascii_case(name) => {
                self.read += 1;
                self.number(&format!("a number behind `{name}`")).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// # Errors
    /// If a word is left.
    pub fn finish(&self, usage: &str) -> Result<(), TextError> {
        match self.read == self.words.len() {
            true => Ok(()),
            false => Err(self.expected(format!("`{usage}`"))),
        }
    }
}

/// A layer that can be told in words.
pub trait Spoken: Sized {
    /// What it is called; PyTorch's name is among them. Case does not matter.
    const NAMES: &'static [&'static str];
    /// Its words, with what may be left out in brackets.
    const USAGE: &'static str;

    /// Its words, from which it is read again.
    fn words(&self) -> String;

    /// From the words behind the name.
    fn parse(words: &mut Words) -> Result<Self, TextError>;
}
