//! The comparisons of the other tests, tested: a comparer that cannot fail proves nothing.

mod common;

use common::{C, EPS, SENTINEL, bound, close, exact, within};

/// One element compared with its bound; the message where it was refused.
fn one(got: f32, want: f64, magnitude: f64, terms: usize) -> Result<(), String> {
    close("x", &[got], &[want], &[magnitude], terms).map(drop).map_err(|e| e.to_string())
}

#[test]
fn a_value_just_over_the_bound_is_refused_and_just_under_it_is_not() {
    for terms in [1, 7, 1601] {
        for magnitude in [1e-6, 1.0, 3e4] {
            // Half of the magnitude, so that got itself is finely resolved; want is where the error is dialled in.
            let got = (magnitude * 0.5) as f32;
            let allowed = C * terms as f64 * EPS * magnitude + f64::from(f32::MIN_POSITIVE);
            for side in [-1.0, 1.0] {
                let off = |share: f64| f64::from(got) + side * share * allowed;
                one(got, off(0.999_999), magnitude, terms).expect("just under the bound passes");
                let message = one(got, off(1.000_001), magnitude, terms).expect_err("just over the bound fails");
                assert!(message.contains("element 0") && message.contains("allowed"), "{message}");
            }
        }
    }
}

#[test]
fn the_bound_grows_with_terms_and_magnitude_and_is_never_zero() {
    assert!(bound(2, 1.0) > bound(1, 1.0) && bound(1, 2.0) > bound(1, 1.0));
    assert_eq!(bound(5, 0.0), f64::from(f32::MIN_POSITIVE));
    assert!(bound(1000, 1.0) < 1e-3, "a thousand terms still leave three digits");
}

#[test]
fn exact_zero_is_accepted_and_anything_normal_in_its_place_is_not() {
    one(0.0, 0.0, 0.0, 1).expect("zero is zero");
    one(-0.0, 0.0, 0.0, 1).expect("so is minus zero");
    one(f32::MIN_POSITIVE, 0.0, 0.0, 1).expect("a device may flush denormals");
    one(1.1 * f32::MIN_POSITIVE, 0.0, 0.0, 1).expect_err("nothing else rounds to zero");
}

#[test]
fn nan_is_refused_on_either_side_and_in_the_bound() {
    one(f32::NAN, 0.0, 1.0, 1).expect_err("got NaN");
    one(0.0, f64::NAN, 1.0, 1).expect_err("expected NaN");
    one(f32::NAN, f64::NAN, 1.0, 1).expect_err("NaN is not what a test means to expect");
    one(0.0, 0.0, f64::NAN, 1).expect_err("a bound that is NaN allows nothing");
    exact("x", &[f32::NAN], &[0.0]).expect_err("got NaN");
    exact("x", &[0.0], &[f32::NAN]).expect_err("expected NaN");
    exact("x", &[f32::NAN], &[f32::NAN]).expect_err("NaN equals nothing");
}

#[test]
fn an_infinity_is_not_within_reach_of_a_finite_number() {
    for infinity in [f32::INFINITY, f32::NEG_INFINITY] {
        one(infinity, 0.0, 1.0, 1).expect_err("got infinity");
        one(0.0, infinity.into(), 1.0, 1).expect_err("expected infinity");
        one(infinity, f64::from(f32::MAX), f64::from(f32::MAX), 1).expect_err("overflow is not rounding");
        exact("x", &[infinity], &[f32::MAX]).expect_err("infinity is not the largest number");
    }
}

#[test]
fn an_output_that_was_never_written_is_refused_and_named_as_that() {
    let message = one(SENTINEL, 0.0, f64::from(f32::MAX), 1).expect_err("never written");
    assert!(message.contains("never written"), "{message}");
    exact("x", &[SENTINEL], &[0.0]).expect_err("never written");
    exact("x", &[SENTINEL], &[SENTINEL]).expect_err("never written");
}

#[test]
fn a_wrong_length_is_refused_even_where_all_elements_agree() {
    close("x", &[1.0], &[1.0, 1.0], &[1.0, 1.0], 1).expect_err("too short");
    close("x", &[1.0, 1.0], &[1.0], &[1.0], 1).expect_err("too long");
    close("x", &[1.0], &[1.0], &[], 1).expect_err("no bound");
    close("x", &[], &[1.0], &[1.0], 1).expect_err("nothing");
    within("x", &[1.0], &[1.0], &[]).expect_err("no bound");
    exact("x", &[1], &[1, 1]).expect_err("too short");
    exact("x", &[1, 1], &[1]).expect_err("too long");
    exact::<u32>("x", &[], &[1]).expect_err("nothing");
}

#[test]
fn the_last_element_is_compared_too_and_named_by_its_index() {
    let message = close("d_x", &[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0], &[1.0; 3], 1).expect_err("the last is wrong").to_string();
    assert!(message.contains("d_x") && message.contains("element 2"), "{message}");
    let message = exact("labels", &[1, 2, 4], &[1, 2, 3]).expect_err("the last is wrong").to_string();
    assert!(message.contains("labels") && message.contains("element 2"), "{message}");
}

#[test]
fn neighbours_of_an_exact_value_are_refused() {
    exact("x", &[1.0_f32], &[1.0]).expect("equal");
    exact("x", &[0.0_f32], &[-0.0]).expect("the zeros are equal");
    exact("x", &[1.0_f32.next_up()], &[1.0]).expect_err("one bit up");
    exact("x", &[1.0_f32.next_down()], &[1.0]).expect_err("one bit down");
}
