//! Colours, light and dark, and the style sheet of all pictures. Blue and orange are told apart by every kind of eye
//! (they are Okabe and Ito's, for dark ground their lighter ones).

/// Name, on light ground, on dark ground. The style sheets say `var(--name)`.
const COLOURS: [(&str, &str, &str); 18] = [
    ("paper", "#ffffff", "#14171c"),
    ("card", "#f5f6f8", "#1d2128"),
    ("ink", "#1b1f24", "#e8eaed"),
    ("muted", "#5b6470", "#9aa4b1"),
    ("faint", "#aab2bd", "#5b6470"),
    ("grid", "#e3e6ea", "#2e343d"),
    ("blue", "#0072b2", "#56b4e9"),
    ("orange", "#d55e00", "#f0902e"),
    ("on-blue", "#ffffff", "#0b0e12"),
    ("on-orange", "#1b1f24", "#0b0e12"),
    ("warning", "#6b3b00", "#ffd9a0"),
    ("warning-box", "#fff0d6", "#3d2a0d"),
    // Of lines that lie over each other.
    ("line-0", "#0072b2", "#56b4e9"),
    ("line-1", "#d55e00", "#f0902e"),
    ("line-2", "#00855f", "#2fc79a"),
    ("line-3", "#b0538b", "#e39cc8"),
    ("line-4", "#8a6d00", "#f0e442"),
    ("line-5", "#5b6470", "#c3cad4"),
];

const PICTURES: &str = include_str!("../../templates/report/picture.css");

/// The style sheet of a picture file. It is light, and in plain values: not every renderer knows CSS variables.
pub fn picture_styles() -> String {
    COLOURS.iter().fold(PICTURES.to_owned(), |css, (name, light, _)| css.replace(&format!("var(--{name})"), light))
}

/// The style sheet of pictures on a page, in the colours that its reader prefers.
pub fn page_styles() -> String {
    let variables = |pick: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        COLOURS.iter().map(|colour| format!("--{}: {};", colour.0, pick(colour))).collect::<Vec<_>>().join(" ")
    };
    let (light, dark) = (variables(|colour| colour.1), variables(|colour| colour.2));
    format!(":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{PICTURES}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_that_a_picture_uses_is_known() {
        assert!(!picture_styles().contains("var("));
    }
}
