//! The data sets that are known by name: where they are published, and what says that a file is the published one.

use super::folder::{Content, Kind};
use crate::data::idx::Fault;

/// A data set that is published as four IDX files of MNIST's names and MNIST's counts.
#[derive(Debug)]
pub struct Published {
    /// What it is called here, and by people.
    pub name: &'static str,
    pub title: &'static str,
    /// Its folder in the cache folder; MNIST lies in that itself.
    pub folder: &'static str,
    /// Folders on the web that hold the four `.gz` files. What they serve is believed only after its sum is checked.
    pub mirrors: &'static [&'static str],
    pub classes: &'static [&'static str],
    /// Of the training labels, the test labels, the test images and the training images.
    pub sums: [Sum; 4],
}

/// A SHA-256 in hexadecimal, as it is known.
#[derive(Clone, Copy, Debug)]
pub enum Sum {
    /// Of the unpacked file.
    Content(&'static str),
    /// Of the `.gz` file.
    Packed(&'static str),
}

impl Sum {
    /// # Errors
    ///
    /// [`Fault::Checksum`] where `content` is not that of the published file, or cannot be known to be.
    pub(super) fn check(self, content: &Content) -> Result<(), Fault> {
        let (expected, found) = match self {
            Sum::Content(sum) => (sum, content.array.sha256()),
            Sum::Packed(sum) => (sum, content.packed.clone().unwrap_or_else(|| "that of no .gz file".into())),
        };
        if found == expected { Ok(()) } else { Err(Fault::Checksum { expected, found }) }
    }

    /// The same, where most files are others.
    pub(super) fn is_of(self, kind: &Kind, content: &Content) -> bool {
        let may_be = match self {
            Sum::Content(_) => content.array.len() == kind.len,
            Sum::Packed(_) => content.packed.is_some(),
        };
        may_be && self.check(content).is_ok()
    }
}

pub static MNIST: Published = Published {
    name: "mnist",
    title: "MNIST",
    folder: "",
    mirrors: &[
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "https://raw.githubusercontent.com/fgnt/mnist/master",
    ],
    classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    sums: [
        Sum::Content("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        Sum::Content("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        Sum::Content("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        Sum::Content("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ],
};

/// The sums are those that torchvision's prototype data sets and others name beside the authors' MD5.
pub static FASHION_MNIST: Published = Published {
    name: "fashion-mnist",
    title: "Fashion-MNIST",
    folder: "fashion-mnist",
    mirrors: &[
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ],
    classes: &["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
    sums: [
        Sum::Packed("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        Sum::Packed("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        Sum::Packed("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        Sum::Packed("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ],
};

/// Its classes are ten hiragana, named by their sounds. The sums as above.
pub static KMNIST: Published = Published {
    name: "kmnist",
    title: "Kuzushiji-MNIST",
    folder: "kmnist",
    mirrors: &["https://codh.rois.ac.jp/kmnist/dataset/kmnist", "http://codh.rois.ac.jp/kmnist/dataset/kmnist"],
    classes: &["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"],
    sums: [
        Sum::Packed("e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
        Sum::Packed("20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        Sum::Packed("edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
        Sum::Packed("51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
    ],
};

pub static ALL: [&Published; 3] = [&MNIST, &FASHION_MNIST, &KMNIST];
