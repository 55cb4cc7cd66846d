//! Which images train and which validate, and in which order an epoch shows them.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Streams of the run's generator. The split has one of its own, so that no epoch shares its draws.
const SPLIT_STREAM: u64 = 0;
const FIRST_EPOCH_STREAM: u64 = 1;
/// Where no test set comes with the images, each class has a stream to draw one: this, and those before it.
const LAST_TEST_STREAM: u64 = u64::MAX;

/// Of so many images of a class one is for testing, where no test set comes with them.
const TEST_ONE_OF: usize = 8;

/// A partition of the training images, as indices into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Images to train with, in the order of the permutation that made the split.
    pub train: Vec<u32>,
    /// Images to validate with.
    pub val: Vec<u32>,
}

/// Splits `count` images at random: the last `round(count * val_fraction)` of a permutation drawn from `seed` validate,
/// the others train. A fraction outside 0..=1 counts as the nearer of the two, NaN as 0.
pub fn split(count: usize, val_fraction: f64, seed: u64) -> Split {
    let mut train: Vec<u32> = (0..count as u32).collect();
    train.shuffle(&mut generator(seed, SPLIT_STREAM));
    // A float-to-integer cast saturates and takes NaN to 0.
    let val_count = (count as f64 * val_fraction).round() as usize;
    let val = train.split_off(count - val_count.min(count));
    Split { train, val }
}

/// Which of the images with these labels train, and which are held out to test with where no test set comes with them:
/// of each class an eighth, rounded, but one at least of two. Drawn from `seed`, of each class by itself; both in
/// ascending order.
pub fn hold_out(labels: &[u16], seed: u64) -> (Vec<u32>, Vec<u32>) {
    let classes = labels.iter().max().map_or(0, |&most| usize::from(most) + 1);
    let mut of_class = vec![Vec::new(); classes];
    (0..).zip(labels).for_each(|(image, &label)| of_class[usize::from(label)].push(image));
    let (mut train, mut test): (Vec<u32>, Vec<u32>) = Default::default();
    for (class, mut images) in (0..).zip(of_class) {
        images.shuffle(&mut generator(seed, LAST_TEST_STREAM - class));
        let count = ((images.len() + TEST_ONE_OF / 2) / TEST_ONE_OF).max(usize::from(images.len() > 1));
        test.extend(images.split_off(images.len() - count));
        train.extend(images);
    }
    train.sort_unstable();
    test.sort_unstable();
    (train, test)
}

/// The order in which `epoch` (from any first number) shows the images `train`: a shuffle that depends on `train`,
/// `seed` and `epoch` only, so that a resumed run goes on as an unbroken one would.
pub fn epoch_order(train: &[u32], seed: u64, epoch: u32) -> Vec<u32> {
    let mut order = train.to_vec();
    order.shuffle(&mut generator(seed, FIRST_EPOCH_STREAM + u64::from(epoch)));
    order
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn split_is_a_seeded_partition() {
        for (count, fraction, val) in [(60_000, 0.1, 6_000), (7, 0.5, 4), (1, 0.0, 0), (3, 1.0, 3), (0, 0.1, 0)] {
            let parts = split(count, fraction, 42);
            assert_eq!((parts.train.len(), parts.val.len()), (count - val, val));
            let all: HashSet<u32> = parts.train.iter().chain(&parts.val).copied().collect();
            assert!(all.len() == count && all.iter().all(|&i| (i as usize) < count));
            assert_eq!(parts, split(count, fraction, 42));
        }
        assert_ne!(split(1000, 0.1, 1).val, split(1000, 0.1, 2).val);
        assert_eq!((split(9, 2.0, 0).val.len(), split(9, -1.0, 0).val.len(), split(9, f64::NAN, 0).val.len()), (9, 0, 0));
    }

    #[test]
    fn of_each_class_an_eighth_is_held_out_and_the_seed_says_which() {
        let labels: Vec<u16> = (0..1000).map(|i| if i < 3 { 7 } else { i % 5 }).chain([6]).collect();
        let (train, test) = hold_out(&labels, 1);
        let mut all = [&train[..], &test].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1001), "a partition");
        let count = |set: &[u32], class: u16| set.iter().filter(|&&image| labels[image as usize] == class).count();
        for class in 0..5 {
            assert_eq!(count(&test, class), 25, "of 199 or 200");
        }
        // One of three, none of one, none of none.
        assert_eq!([7, 6, 5].map(|class| (count(&train, class), count(&test, class))), [(2, 1), (1, 0), (0, 0)]);
        assert_eq!((train, test.clone()), hold_out(&labels, 1));
        assert_ne!(test, hold_out(&labels, 2).1);
        // A class's draw does not depend on the others.
        assert_eq!(hold_out(&[0; 40], 3).1, hold_out(&[[0; 40], [1; 40]].concat(), 3).1[..5]);
        assert_eq!(hold_out(&[], 0), (vec![], vec![]));
    }

    #[test]
    fn epoch_order_is_a_pure_function_of_seed_and_epoch() {
        let train = split(1000, 0.1, 5).train;
        let order = epoch_order(&train, 5, 3);
        assert_eq!(order, epoch_order(&train, 5, 3));
        assert_eq!(order.iter().collect::<HashSet<_>>(), train.iter().collect::<HashSet<_>>());
        assert_eq!(order.len(), train.len());
        let orders = [order, epoch_order(&train, 5, 4), epoch_order(&train, 6, 3), epoch_order(&train, 5, 0), train];
        assert_eq!(orders.iter().collect::<HashSet<_>>().len(), orders.len(), "two orders are the same");
    }
}
