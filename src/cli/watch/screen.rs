//! What the dashboard shows, as a picture of its state: no terminal, no clock.

use super::meter::{Meter, Speed, short};
use crate::cli::thousands;
use mnist_wgpu::engine::Work;
use mnist_wgpu::history::{Row, best};
use mnist_wgpu::train::Progress;
use ratatui_core::layout::{Alignment, Constraint, Layout, Rect};
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::symbols::Marker;
use ratatui_core::terminal::Frame;
use ratatui_core::text::{Line, Span};
use ratatui_widgets::block::Block;
use ratatui_widgets::borders::Borders;
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType, LegendPosition};
use ratatui_widgets::gauge::LineGauge;
use ratatui_widgets::paragraph::Paragraph;
use ratatui_widgets::sparkline::Sparkline;
use ratatui_widgets::table::{self, Cell, Table};
use std::collections::VecDeque;
use std::time::Duration;

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub name: String,
    pub device: String,
    pub dataset: String,
    /// Whether the digits are drawn, so that figures are not MNIST's.
    pub synthetic: bool,
    /// The last epoch to train.
    pub epochs: u32,
    /// Of the epochs that a resumed run had behind it.
    pub history: Vec<Row>,
}

pub struct Screen {
    run: Run,
    /// Whether curves are told apart by colour; else by their dots alone.
    colour: bool,
    rows: Vec<Row>,
    meter: Meter,
    now: Option<(Progress, Speed)>,
    /// Mean training loss of each submit, by where it ended, in epochs.
    losses: Curve,
    /// Images per second of training, one for each half second.
    speeds: VecDeque<u64>,
    /// When the last speed was taken, and the images of the pass by then.
    sampled: (Duration, u64),
    pub stopping: bool,
    /// What was said lately.
    pub messages: Vec<String>,
}

impl Screen {
    const SAMPLE: Duration = Duration::from_millis(500);
    /// More than any terminal is wide.
    const SPEEDS: usize = 512;

    pub fn new(run: Run, colour: bool) -> Self {
        Self {
            rows: run.history.clone(),
            meter: Meter::new(run.epochs),
            run,
            colour,
            now: None,
            losses: Curve::default(),
            speeds: VecDeque::new(),
            sampled: (Duration::ZERO, 0),
            stopping: false,
            messages: Vec::new(),
        }
    }

    /// Takes note of `progress` at the time `now`.
    pub fn progress(&mut self, progress: &Progress, now: Duration) {
        let before = self.now.map(|(before, _)| before).filter(|p| (p.epoch, p.work) == (progress.epoch, progress.work));
        let speed = self.meter.read(progress, now);
        let totals = &progress.totals;
        if progress.work == Work::Train {
            let (sum, count) = before.map_or((0.0, 0), |p| (p.totals.loss() * p.totals.count() as f64, p.totals.count()));
            if totals.count() > count {
                let loss = (totals.loss() * totals.count() as f64 - sum) / (totals.count() - count) as f64;
                let within = progress.batches.0 as f64 / progress.batches.1.max(1) as f64;
                self.losses.add(f64::from(progress.epoch) - 1.0 + within, loss);
            }
            if before.is_none() {
                self.sampled = (now, totals.count());
            } else if now >= self.sampled.0 + Self::SAMPLE {
                let images = totals.count().saturating_sub(self.sampled.1) as f64;
                self.speeds.push_back((images / (now - self.sampled.0).as_secs_f64()) as u64);
                self.sampled = (now, totals.count());
                if self.speeds.len() > Self::SPEEDS {
                    self.speeds.pop_front();
                }
            }
        }
        self.now = Some((*progress, speed));
    }

    pub fn epoch(&mut self, row: &Row) {
        self.meter.epoch_took(row.seconds);
        self.rows.push(*row);
    }

    /// Draws everything there is room for: what matters most is drawn on the smallest terminal.
    pub fn draw(&self, frame: &mut Frame) {
        let area = frame.area();
        let head = self.head(area.height);
        let foot = self.foot(area.height);
        let [top, gauge, figures, middle, bottom] = Layout::vertical([
            Constraint::Length(head.len() as u16),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(foot.len() as u16),
        ])
        .areas(area);
        frame.render_widget(Paragraph::new(head), top);
        self.draw_gauge(frame, gauge);
        frame.render_widget(Paragraph::new(self.figures()), figures);
        frame.render_widget(Paragraph::new(foot), bottom);
        self.draw_middle(frame, middle);
    }

    fn head(&self, height: u16) -> Vec<Line<'_>> {
        let Run { name, device, dataset, synthetic, .. } = &self.run;
        let mut lines = vec![Line::from(vec![
            Span::styled(" mnist-wgpu ", Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)),
            Span::styled(format!("  {name}"), Style::new().add_modifier(Modifier::BOLD)),
        ])];
        if height >= 8 {
            lines.push(Line::from(format!(" {device}")));
            lines.push(Line::from(format!(" {dataset}")));
        }
        if *synthetic {
            let style = self.style(Color::Yellow).add_modifier(Modifier::BOLD);
            lines.push(Line::styled(" SYNTHETIC digits, NOT MNIST: these figures say nothing about MNIST", style));
        }
        lines
    }

    fn foot(&self, height: u16) -> Vec<Line<'_>> {
        let mut lines: Vec<_> = if height >= 16 { self.messages.iter() } else { [].iter() }
            .map(|line| Line::from(format!(" {}", line.lines().next().unwrap_or_default())))
            .collect();
        let keys = match self.stopping {
            true => " Stopping, and saving what is complete.  q or Ctrl-C again: end at once",
            false => " q or Ctrl-C: stop and save",
        };
        lines.push(Line::styled(keys, Style::new().add_modifier(Modifier::DIM)));
        lines
    }

    fn draw_gauge(&self, frame: &mut Frame, area: Rect) {
        let (label, ratio) = match &self.now {
            None => ("Preparing ".to_string(), 0.0),
            Some((progress, _)) => {
                let pass = match progress.work {
                    Work::Train => format!("Epoch {}/{} ", progress.epoch, self.run.epochs),
                    Work::Evaluate => "Evaluating ".to_string(),
                };
                (pass, progress.batches.0 as f64 / progress.batches.1.max(1) as f64)
            }
        };
        let gauge = LineGauge::default()
            .label(format!(" {label}{:3.0}%", 100.0 * ratio))
            .ratio(ratio.clamp(0.0, 1.0))
            .filled_symbol("█")
            .unfilled_symbol("░")
            .filled_style(self.style(Color::Green))
            .unfilled_style(Style::new().add_modifier(Modifier::DIM));
        frame.render_widget(gauge, area);
    }

    fn figures(&self) -> Line<'_> {
        let Some((progress, speed)) = &self.now else { return Line::from(" waiting for the first batches") };
        let left = |left: Option<Duration>| left.map_or("-".into(), short);
        let (loss, accuracy) = (progress.totals.loss(), progress.totals.accuracy());
        let mut spans = vec![Span::raw(" ")];
        for (value, name) in [
            (thousands(speed.images_per_second as usize), "images/s"),
            (format!("{loss:.4}"), "loss"),
            (format!("{accuracy:.4}"), "accuracy"),
            (left(speed.left), "left"),
            (left(speed.run_left), "of the run left"),
        ] {
            spans.push(Span::styled(value, Style::new().add_modifier(Modifier::BOLD)));
            spans.push(Span::raw(format!(" {name}   ")));
        }
        Line::from(spans)
    }

    /// Speed, curves and table, as far as there is room.
    fn draw_middle(&self, frame: &mut Frame, area: Rect) {
        if area.height < 5 || area.width < 30 {
            return;
        }
        let speed = if area.height >= 14 { 3 } else { 0 };
        let table = if area.height >= 12 { (area.height / 3).min(self.rows.len() as u16 + 2).clamp(3, 12) } else { 0 };
        let [top, charts, bottom] =
            Layout::vertical([Constraint::Length(speed), Constraint::Min(5), Constraint::Length(table)]).areas(area);
        if speed > 0 {
            self.draw_speed(frame, top);
        }
        if area.width < 64 {
            self.draw_loss(frame, charts);
        } else {
            let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(charts);
            self.draw_loss(frame, left);
            self.draw_accuracy(frame, right);
        }
        if table > 0 {
            self.draw_table(frame, bottom);
        }
    }

    fn draw_speed(&self, frame: &mut Frame, area: Rect) {
        let block = block("Images/s, training, the last of them on the right");
        let width = block.inner(area).width as usize;
        let data: Vec<u64> = self.speeds.iter().skip(self.speeds.len().saturating_sub(width)).copied().collect();
        frame.render_widget(Sparkline::default().block(block).data(data).style(self.style(Color::Cyan)), area);
    }

    fn draw_loss(&self, frame: &mut Frame, area: Rect) {
        let log = |points: &mut dyn Iterator<Item = (f64, f64)>| -> Vec<(f64, f64)> {
            points.filter(|point| point.1 > 0.0 && point.1.is_finite()).map(|(x, y)| (x, y.log10())).collect()
        };
        // A resumed run begins with the means of the epochs behind it.
        let first = self.losses.points.first().map_or(f64::INFINITY, |point| point.0);
        let earlier = self.rows.iter().map(|row| (f64::from(row.epoch), row.train_loss)).filter(|point| point.0 < first);
        let train = log(&mut earlier.chain(self.losses.points.iter().copied()));
        let val = log(&mut self.rows.iter().map(|row| (f64::from(row.epoch), row.val_loss)));
        let label = |y: f64| format!("{:.*}", if y < -1.0 { 3 } else { 2 }, 10f64.powf(y));
        self.draw_curves(frame, area, "Loss, logarithmic", &train, &val, LegendPosition::TopRight, label);
    }

    fn draw_accuracy(&self, frame: &mut Frame, area: Rect) {
        let curve = |of: fn(&Row) -> f64| -> Vec<(f64, f64)> {
            self.rows.iter().map(|row| (f64::from(row.epoch), of(row))).filter(|point| point.1.is_finite()).collect()
        };
        let (train, val) = (curve(|row| row.train_accuracy), curve(|row| row.val_accuracy));
        let label = |y: f64| format!("{y:.3}");
        self.draw_curves(frame, area, "Accuracy", &train, &val, LegendPosition::BottomRight, label);
    }

    #[expect(clippy::too_many_arguments, reason = "two charts that differ in just these")]
    fn draw_curves(
        &self,
        frame: &mut Frame,
        area: Rect,
        title: &'static str,
        train: &[(f64, f64)],
        val: &[(f64, f64)],
        legend: LegendPosition,
        label: impl Fn(f64) -> String,
    ) {
        let all = || train.iter().chain(val);
        if all().next().is_none() {
            let text =
                Paragraph::new("nothing yet").alignment(Alignment::Center).style(Style::new().add_modifier(Modifier::DIM));
            frame.render_widget(text.block(block(title)), area);
            return;
        }
        let first = self.rows.first().map_or(0.0, |row| f64::from(row.epoch - row.epoch.min(1)));
        let last = all().map(|point| point.0).fold(first + 1.0, f64::max).ceil();
        let low = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = all().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        // A curve that is a point gets room all the same.
        let margin = ((high - low) * 0.05).max(0.005);
        let (low, high) = (low - margin, high + margin);
        let ticks = [low, (low + high) / 2.0, high].map(|y| Line::from(label(y)));
        let dim = Style::new().add_modifier(Modifier::DIM);
        let chart = Chart::new(vec![
            Dataset::default()
                .name("training")
                .marker(Marker::Braille)
                .graph_type(if train.len() > 1 { GraphType::Line } else { GraphType::Scatter }) // a line of one point is none
                .style(self.style(Color::Cyan))
                .data(train),
            Dataset::default()
                .name("validation •")
                .marker(Marker::Dot)
                .graph_type(GraphType::Scatter)
                .style(self.style(Color::Yellow))
                .data(val),
        ])
        .block(block(title))
        .x_axis(Axis::default().style(dim).bounds([first, last]).labels([format!("{first}"), format!("epoch {last}")]))
        .y_axis(Axis::default().style(dim).bounds([low, high]).labels(ticks))
        .legend_position(Some(legend))
        .hidden_legend_constraints((Constraint::Percentage(60), Constraint::Percentage(60)));
        frame.render_widget(chart, area);
    }

    /// The last epochs, the newest first, with a star at the best.
    fn draw_table(&self, frame: &mut Frame, area: Rect) {
        let best = best(&self.rows).map(|row| row.epoch);
        let line = |row: &Row| {
            let star = if best == Some(row.epoch) { "*" } else { " " };
            [
                format!("{}{star}", row.epoch),
                format!("{:.4}", row.train_loss),
                format!("{:.4}", row.train_accuracy),
                format!("{:.4}", row.val_loss),
                format!("{:.4}", row.val_accuracy),
                format!("{:.1}", row.seconds),
                thousands(row.images_per_second as usize),
            ]
        };
        let cells =
            |texts: [String; 7]| table::Row::new(texts.map(|text| Cell::from(Line::from(text).alignment(Alignment::Right))));
        let head = ["epoch ", "loss", "accuracy", "val loss", "val acc", "seconds", "images/s"].map(String::from);
        let widths = [7, 9, 9, 9, 9, 9, 10].map(Constraint::Length);
        let table = Table::new(self.rows.iter().rev().map(|row| cells(line(row))), widths)
            .header(cells(head).style(Style::new().add_modifier(Modifier::DIM)))
            .block(block("Epochs, * the best by validation").borders(Borders::TOP));
        frame.render_widget(table, area);
    }

    fn style(&self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}

fn block(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).title(Line::from(format!(" {title} ")))
}

/// Points in the order of x. Where they get too many to be seen, neighbours are merged to their mean.
#[derive(Default)]
struct Curve {
    points: Vec<(f64, f64)>,
    /// How many values a point stands for, and those that do not make up a point yet.
    stride: usize,
    waiting: Vec<(f64, f64)>,
}

impl Curve {
    const MOST: usize = 2048;

    fn add(&mut self, x: f64, y: f64) {
        self.waiting.push((x, y));
        if self.waiting.len() >= self.stride.max(1) {
            self.points.push(mean(&self.waiting));
            self.waiting.clear();
        }
        if self.points.len() >= Self::MOST {
            self.points = self.points.chunks(2).map(mean).collect();
            self.stride = 2 * self.stride.max(1);
        }
    }
}

/// The last x, and the mean of the y.
fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let sum: f64 = points.iter().map(|point| point.1).sum();
    (points.last().map_or(0.0, |point| point.0), sum / points.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mnist_wgpu::metrics::{BatchMetrics, Totals};
    use ratatui_core::backend::TestBackend;
    use ratatui_core::terminal::Terminal;

    fn run(synthetic: bool) -> Run {
        let (name, device, dataset) = ("runs/one".into(), "llvmpipe (Vulkan)".into(), "MNIST, 60,000 images".into());
        Run { name, device, dataset, synthetic, epochs: 50, history: Vec::new() }
    }

    fn row(epoch: u32) -> Row {
        let loss = 0.3 / f64::from(epoch);
        Row {
            epoch,
            train_loss: loss,
            train_accuracy: 1.0 - loss / 3.0,
            val_loss: loss / 2.0,
            val_accuracy: 1.0 - loss / 5.0,
            seconds: 5.0,
            images_per_second: 11_000.0,
            learning_rate: 0.01,
        }
    }

    /// After `epochs` epochs and a half, of 20 submits each.
    fn screen(epochs: u32, synthetic: bool) -> Screen {
        let mut screen = Screen::new(run(synthetic), true);
        for epoch in 1..=epochs + 1 {
            let mut totals = Totals::default();
            for submit in 1..=if epoch > epochs { 10 } else { 20 } {
                totals.add(&BatchMetrics { loss_sum: 32.0 / epoch as f32, correct: 30, count: 32, non_finite: 0 });
                let progress = Progress { epoch, work: Work::Train, batches: (submit, 20), totals };
                screen.progress(&progress, Duration::from_millis(u64::from(epoch) * 6000 + 300 * submit as u64));
            }
            if epoch <= epochs {
                screen.epoch(&row(epoch));
            }
        }
        screen
    }

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn every_size_of_terminal_is_drawn_with_what_has_room() {
        for epochs in [0, 1, 50] {
            for (width, height) in [(1, 1), (20, 5), (30, 12), (80, 24), (200, 60)] {
                for new in [true, false] {
                    let screen = if new { Screen::new(run(true), false) } else { screen(epochs, true) };
                    drawn(&screen, width, height);
                }
            }
        }
    }

    #[test]
    fn an_ordinary_terminal_shows_all_of_a_run() {
        let text = drawn(&screen(3, false), 80, 24);
        for part in
            ["runs/one", "llvmpipe", "60,000 images", "Epoch 4/50", "50%", "images/s", "training", "epoch 4", "11,000"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.contains("3* "), "the best epoch has a star\n{text}");
        assert!(text.contains("q or Ctrl-C: stop and save") && !text.contains("SYNTHETIC"), "{text}");
    }

    #[test]
    fn synthetic_digits_are_said_to_be_so_on_any_terminal() {
        for (width, height) in [(20, 5), (80, 24), (200, 60)] {
            let text = drawn(&screen(1, true), width, height);
            assert!(text.contains("SYNTHETIC digits"), "{text}");
        }
    }

    #[test]
    fn without_colour_no_cell_has_one() {
        let screen = Screen { colour: false, ..screen(5, true) };
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let coloured = |cell: &ratatui_core::buffer::Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
        assert!(!terminal.backend().buffer().content().iter().any(coloured));
    }

    #[test]
    fn a_run_of_days_keeps_a_bounded_curve_of_the_same_mean() {
        let mut curve = Curve::default();
        (0..100_000).for_each(|i| curve.add(f64::from(i), f64::from(i % 2)));
        assert!(curve.points.len() <= Curve::MOST, "{}", curve.points.len());
        assert!(curve.points.iter().all(|point| point.1 == 0.5), "neighbours are merged to their mean");
        assert!(curve.points.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn the_loss_of_each_submit_is_its_own_and_not_the_pass_so_far() {
        let mut screen = Screen::new(run(false), true);
        let mut totals = Totals::default();
        for (submit, loss_sum) in [(1, 64.0), (2, 32.0), (3, 16.0)] {
            totals.add(&BatchMetrics { loss_sum, correct: 1, count: 32, non_finite: 0 });
            let progress = Progress { epoch: 2, work: Work::Train, batches: (submit, 4), totals };
            screen.progress(&progress, Duration::from_secs(submit as u64));
        }
        assert_eq!(screen.losses.points, [(1.25, 2.0), (1.5, 1.0), (1.75, 0.5)]);
    }
}
