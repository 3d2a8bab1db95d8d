// dw[s,v,u,o] = Σ_{r,j} dy[r,j,o] · x[b, stride·i + v − pad, stride·j + u − pad, o / mult]
// The gradient of w of a depthwise convolution, in parts. The rows of all images are counted through, and slice s sums
// over size of them; row r is row i of image b. A second kernel adds the slices.
// One invocation makes a row of the window, SIDE_W elements; one workgroup WG of the n rows. Neighbours are channels.
//!use fold
struct Params {
    n: u32, height: u32, width: u32, channels: u32,
    rows: u32, cols: u32, stride: u32, pad: u32, side_h: u32, out: u32,
    lines: u32,  // rows of all images
    size: u32    // of a slice
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;        // [lines, cols, out]
@group(0) @binding(2) var<storage, read> x: array<f32>;         // [batch, height, width, channels]
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;  // [slices, side_h, SIDE_W, out]

const WG = 64u;
const SIDE_W = 3u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let o = i % p.out;
    let c = o / (p.out / p.channels);
    let v = i / p.out % p.side_h;
    let slice = i / (p.out * p.side_h);
    var sum: array<f32, SIDE_W>;
    for (var line = slice * p.size; line < min(p.lines, (slice + 1u) * p.size); line++) {
        let row = line % p.rows * p.stride + v - p.pad;
        if row >= p.height {
            continue;
        }
        let at = (line / p.rows * p.height + row) * p.width;
        var terms: array<f32, SIDE_W>;
        for (var u = 0u; u < SIDE_W; u++) {  //!unroll
            terms[u] = 0.0;
        }
        for (var j = 0u; j < p.cols; j++) {
            let flow = dy[(line * p.cols + j) * p.out + o];
            let left = j * p.stride - p.pad;
            for (var u = 0u; u < SIDE_W; u++) {  //!unroll
                if left + u < p.width {
                    terms[u] = fma(flow, x[(at + left + u) * p.channels + c], terms[u]);
                }
            }
        }
        for (var u = 0u; u < SIDE_W; u++) {  //!unroll
            sum[u] += terms[u];
        }
    }
    for (var u = 0u; u < SIDE_W; u++) {  //!unroll
        dw[(i / p.out * SIDE_W + u) * p.out + o] = sum[u];
    }
}
