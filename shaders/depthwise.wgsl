// y[b,i,j,o] = f(Σ_{v,u} x[b, stride·i + v − pad, stride·j + u − pad, o / mult] · w[v,u,o] · scale[o] + bias[o]), 0 outside x
// x, y: images with the channels last. FLIP: w[side_h − 1 − v, side_w − 1 − u, o] takes the place of w[v,u,o].
// One invocation makes COLS neighbouring columns of a channel, for which it loads each number of x and w once a row of
// the window; one workgroup WG of the n runs of columns. Neighbours are channels.
//!use fold
//!use function
struct Params {
    n: u32, height: u32, width: u32, channels: u32,
    rows: u32, cols: u32, pad: u32, side_h: u32,
    out: u32,       // channels of y, mult times those of x
    bias_rows: u32  // 2 where a row of scales follows the bias, 0 without either
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [batch, height, width, channels]
@group(0) @binding(2) var<storage, read> w: array<f32>;        // [side_h, SIDE_W, out]
@group(0) @binding(3) var<storage, read> bias: array<f32>;     // [bias_rows, out], absent if 0
@group(0) @binding(4) var<storage, read_write> y: array<f32>;  // [batch, rows, cols, out]

const WG = 64u;
const COLS = 4u;
const SIDE_W = 3u;
const STRIDE = 1u;
const SPAN = (COLS - 1u) * STRIDE + SIDE_W;  // columns of x that an invocation sees
const FLIP = false;
const ACT = NONE;  // f, as in lib/function.wgsl

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let o = i % p.out;
    let c = o / (p.out / p.channels);
    let runs = (p.cols + COLS - 1u) / COLS;
    let first = i / p.out % runs * COLS;
    let line = i / (p.out * runs);  // of all images' rows
    let image = line / p.rows * p.height;
    // Above or left of x these u32 wrap around, to numbers greater than height and width, which the bounds refuse.
    let top = line % p.rows * STRIDE - p.pad;
    let left = first * STRIDE - p.pad;
    var sum: array<f32, COLS>;
    for (var v = 0u; v < p.side_h; v++) {
        let row = top + v;
        if row >= p.height {
            continue;
        }
        let at = (image + row) * p.width;
        var seen: array<f32, SPAN>;
        for (var k = 0u; k < SPAN; k++) {  //!unroll
            seen[k] = 0.0;
            if left + k < p.width {
                seen[k] = x[(at + left + k) * p.channels + c];
            }
        }
        let tap = select(v, p.side_h - 1u - v, FLIP) * SIDE_W;
        for (var u = 0u; u < SIDE_W; u++) {  //!unroll
            let factor = w[(tap + select(u, SIDE_W - 1u - u, FLIP)) * p.out + o];
            for (var j = 0u; j < COLS; j++) {  //!unroll
                sum[j] = fma(seen[j * STRIDE + u], factor, sum[j]);
            }
        }
    }
    for (var j = 0u; j < COLS; j++) {  //!unroll
        if first + j < p.cols {
            var result = sum[j];
            if p.bias_rows == 2u {
                result *= bias[p.out + o];
            }
            if p.bias_rows != 0u {
                result += bias[o];
            }
            y[(line * p.cols + first + j) * p.out + o] = apply(ACT, result);
        }
    }
}
