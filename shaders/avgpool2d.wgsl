// y[b,i,j,c] is the mean of x[b, stride·i + v − pad, stride·j + u − pad, c] over all v, u < side
// whose place lies in x: the others count neither in the sum nor in the number of places.
// x, y: images with the channels last. Rows and columns of x beyond the last whole window take no part.
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, height: u32, width: u32, channels: u32, rows: u32, cols: u32, stride: u32, pad: u32, side: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [batch, height, width, channels]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [batch, rows, cols, channels]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let c = i % p.channels;
    let cell = i / p.channels;
    let image = cell / (p.cols * p.rows) * p.height;
    // Above or left of x these u32 wrap around, to numbers greater than height and width, which the bounds refuse.
    let top = cell / p.cols % p.rows * p.stride - p.pad;
    let left = cell % p.cols * p.stride - p.pad;
    var sum = 0.0;
    var count = 0u;
    for (var v = 0u; v < p.side; v++) {
        for (var u = 0u; u < p.side; u++) {
            if top + v < p.height && left + u < p.width {
                sum += x[((image + top + v) * p.width + left + u) * p.channels + c];
                count++;
            }
        }
    }
    y[i] = sum / f32(count);
}
