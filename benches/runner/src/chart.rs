//! The ratios of S1, S2 and S3 as bars.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::lines;
use crate::plan::B;
use crate::report::Report;

/// The groups of the chart, and what their bars are called.
const GROUPS: [(&str, &str, RGBColor); 3] = [
    ("s1-same", "S1, one core: 1 x 1", RGBColor(0x44, 0x77, 0xAA)),
    ("s2-same", "S2, one core: 1 x 64", RGBColor(0x22, 0x88, 0x33)),
    ("s3", "S3, two cores: 64 x 16", RGBColor(0xEE, 0x66, 0x77)),
];

const WIDTH: i32 = 900;
const NAMES: i32 = 240;
const HEAD: i32 = 90;
const FOOT: i32 = 40;
const BAR: i32 = 9;
/// Bars of a peer, and the gap to the next.
const BLOCK: i32 = BAR * GROUPS.len() as i32 + 9;
/// Longer bars are cut; they are raw loops that do less than B.
const LONGEST: f64 = 1.25;
const GREY: RGBColor = RGBColor(0x66, 0x66, 0x66);

/// The ratios of a peer, in the order of [`GROUPS`].
type Bars = (String, [Option<f64>; GROUPS.len()]);

/// Draws the chart; false where there is nothing to draw.
pub fn draw(report: &Report, path: &Path) -> Result<bool> {
    let bars = bars(report);
    if bars.is_empty() {
        return Ok(false);
    }
    let height = HEAD + FOOT + bars.len() as i32 * BLOCK;
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)
        .and_then(|()| paint(report, &bars, height, &area))
        .map_err(|error| anyhow!("{error}"))?;
    area.present().map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(true)
}

/// Peers without raw loops: those are no peers, and B is 1.
fn bars(report: &Report) -> Vec<Bars> {
    let mut bars: Vec<Bars> = Vec::new();
    for (place, (name, ..)) in GROUPS.iter().enumerate() {
        let Some(group) = report.groups.iter().find(|group| group.name == *name) else { continue };
        for line in lines(report, group) {
            let Some(ratio) = line.ratio.filter(|_| !is_raw(&line.peer)) else { continue };
            let at = bars.iter().position(|(peer, _)| *peer == line.peer).unwrap_or_else(|| {
                bars.push((line.peer.clone(), [None; GROUPS.len()]));
                bars.len() - 1
            });
            bars[at].1[place] = Some(ratio.median);
        }
    }
    bars
}

fn is_raw(peer: &str) -> bool {
    ["A,", "B,", "B',"].iter().any(|begin| peer.starts_with(begin)) || peer == B
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn paint<'a>(report: &Report, bars: &[Bars], height: i32, area: &Area<'a>) -> Drawn<'a> {
    let head = "Requests a second, relative to the raw loop B (1.0)";
    area.draw_text(head, &text(18, &BLACK, HPos::Left), (12, 20))?;
    let machine = &report.machine;
    let place =
        format!("{}; commit {}; {}, {} cores", report.date, report.commit, machine.cpu, machine.cores);
    area.draw_text(&place, &text(12, &GREY, HPos::Left), (12, 42))?;
    for (number, (_, name, color)) in GROUPS.iter().enumerate() {
        let left = 12 + number as i32 * 190;
        area.draw(&Rectangle::new([(left, 60), (left + 12, 70)], color.filled()))?;
        area.draw_text(name, &text(12, &BLACK, HPos::Left), (left + 18, 65))?;
    }
    let across = |ratio: f64| NAMES + ((WIDTH - NAMES - 60) as f64 * ratio.min(LONGEST) / LONGEST) as i32;
    for tick in 0..=5 {
        let ratio = f64::from(tick) * 0.25;
        let (x, bottom) = (across(ratio), height - FOOT);
        let color = if tick == 4 { BLACK } else { RGBColor(0xDD, 0xDD, 0xDD) };
        area.draw(&PathElement::new([(x, HEAD - 6), (x, bottom)], color))?;
        area.draw_text(&format!("{ratio:.2}"), &text(11, &GREY, HPos::Center), (x, bottom + 12))?;
    }
    for (number, (peer, ratios)) in bars.iter().enumerate() {
        let top = HEAD + number as i32 * BLOCK;
        let middle = top + BAR * GROUPS.len() as i32 / 2;
        area.draw_text(peer, &text(12, &BLACK, HPos::Right), (NAMES - 8, middle))?;
        for (place, ratio) in ratios.iter().enumerate() {
            let Some(ratio) = *ratio else { continue };
            let (top, (.., color)) = (top + place as i32 * BAR, GROUPS[place]);
            let end = across(ratio);
            area.draw(&Rectangle::new([(NAMES, top), (end, top + BAR - 1)], color.filled()))?;
            area.draw_text(&format!("{ratio:.2}"), &text(9, &GREY, HPos::Left), (end + 4, top + BAR / 2))?;
        }
    }
    Ok(())
}

fn text(size: i32, color: &'static RGBColor, at: HPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).color(color).pos(Pos::new(at, VPos::Center))
}
