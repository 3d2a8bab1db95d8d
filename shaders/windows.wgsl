// y[(b·rows + wy)·cols + wx, t, c] = x[b, (wy·win_h + ty + shift_y) mod height, (wx·win_w + tx + shift_x) mod width, c]
// x: images; y: their windows, rows = ⌈height / win_h⌉ by cols = ⌈width / win_w⌉ of each, which cover the image that is
// moved up and left by the shift, what falls out coming in on the other side. Token t = ty·win_w + tx of a window, or
// tx·win_h + ty where by_column, is zero where it lies beyond the image. BACK: x and y change places, and zeros are lost.
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params {
    n: u32, height: u32, width: u32, channels: u32,
    win_h: u32, win_w: u32, shift_y: u32, shift_x: u32,
    by_column: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [batch, height, width, channels]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [batch·rows·cols, win_h·win_w, channels]

const WG = 64u;
const BACK = false;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let rows = (p.height + p.win_h - 1u) / p.win_h;
    let cols = (p.width + p.win_w - 1u) / p.win_w;
    let area = p.win_h * p.win_w;
    let c = i % p.channels;
    if BACK {
        let row = (i / (p.channels * p.width) + p.height - p.shift_y) % p.height;
        let col = (i / p.channels % p.width + p.width - p.shift_x) % p.width;
        let b = i / (p.channels * p.width * p.height);
        let window = (b * rows + row / p.win_h) * cols + col / p.win_w;
        var t = row % p.win_h * p.win_w + col % p.win_w;
        if p.by_column != 0u {
            t = col % p.win_w * p.win_h + row % p.win_h;
        }
        y[i] = x[(window * area + t) * p.channels + c];
        return;
    }
    let t = i / p.channels % area;
    let window = i / (p.channels * area);
    var row = window / cols % rows * p.win_h;
    var col = window % cols * p.win_w;
    if p.by_column != 0u {
        row += t % p.win_h;
        col += t / p.win_h;
    } else {
        row += t / p.win_w;
        col += t % p.win_w;
    }
    if row >= p.height || col >= p.width {
        y[i] = 0.0;
        return;
    }
    let b = window / (cols * rows);
    let at = (b * p.height + (row + p.shift_y) % p.height) * p.width + (col + p.shift_x) % p.width;
    y[i] = x[at * p.channels + c];
}
