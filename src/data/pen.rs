//! A round pen: draws line segments into a 28x28 image, with soft edges.

/// Rows and columns of an image.
pub(super) const ROWS: usize = 28;
pub(super) const COLS: usize = 28;

/// x to the right, y down.
pub(super) type Point = [f32; 2];

/// A stretch of the pen's way, in pixels.
pub(super) struct Segment {
    pub from: Point,
    pub to: Point,
    pub radius: f32,
}

/// How a digit is put on paper.
pub(super) struct Ink {
    /// From the image's middle to the digit's centre of mass, in pixels.
    pub offset: Point,
    /// Width of a line's soft edge in pixels.
    pub softness: f32,
    /// Value of a pixel inside a line, up to 255.
    pub darkest: f32,
}

/// Draws the segments into a blank image, their centre of mass at `ink.offset` from the middle.
pub(super) fn draw(image: &mut [u8], segments: &[Segment], ink: &Ink) {
    let (mut mass, mut centre) = (0.0, [0.0; 2]);
    for segment in segments {
        let [dx, dy] = [0, 1].map(|k| segment.to[k] - segment.from[k]);
        let weight = (dx * dx + dy * dy).sqrt() * segment.radius + 1e-6;
        mass += weight;
        centre = [0, 1].map(|k| centre[k] + weight * 0.5 * (segment.from[k] + segment.to[k]));
    }
    let middle = [COLS as f32 / 2.0, ROWS as f32 / 2.0];
    let shift = [0, 1].map(|k| middle[k] - centre[k] / mass + ink.offset[k]);
    for segment in segments {
        stamp(image, segment, shift, ink);
    }
}

/// Adds one segment to an image: each pixel becomes the darkest that any segment makes it.
fn stamp(image: &mut [u8], segment: &Segment, shift: Point, ink: &Ink) {
    let from = [0, 1].map(|k| segment.from[k] + shift[k]);
    let along = [0, 1].map(|k| segment.to[k] - segment.from[k]);
    let square = (along[0] * along[0] + along[1] * along[1]).max(1e-12);
    let reach = segment.radius + ink.softness;
    // A cast from a negative float is 0, so that what lies outside the image is cut off.
    let range = |k: usize, size: usize| {
        let (a, b) = (from[k], from[k] + along[k]);
        let low = (a.min(b) - reach) as usize;
        low..((a.max(b) + reach + 1.0) as usize).min(size)
    };
    for row in range(1, ROWS) {
        for col in range(0, COLS) {
            let [x, y] = [col as f32 + 0.5 - from[0], row as f32 + 0.5 - from[1]];
            let t = ((x * along[0] + y * along[1]) / square).clamp(0.0, 1.0);
            let [x, y] = [x - t * along[0], y - t * along[1]];
            let distance = (x * x + y * y).sqrt();
            let cover = ((segment.radius - distance) / ink.softness + 0.5).clamp(0.0, 1.0);
            let pixel = &mut image[row * COLS + col];
            *pixel = (*pixel).max((cover * ink.darkest + 0.5) as u8);
        }
    }
}
