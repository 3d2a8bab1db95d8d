// dx[r,c] = dy[r,c] · w[c] · rstd[c], rstd = 1 / √(variance + eps)
// dw[c] = Σ_r dy[r,c] · (x[r,c] − mean[c]) · rstd[c], db[c] = Σ_r dy[r,c]
// The first workgroups make COLUMNS elements of dw and db each. SLICES invocations share a sum: each takes every
// SLICES-th row. It adds up TERMS terms at a time and then these sums, since the rounding error of a sum grows with its
// terms. In the other workgroups an invocation makes one of the n elements of dx.
//!use fold
//!use columns
struct Params {
    n: u32, cols: u32, eps: f32,
    columns: u32  // workgroups that make dw and db
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;         // [rows, cols]
@group(0) @binding(2) var<storage, read> w: array<f32>;         // [cols]
@group(0) @binding(3) var<storage, read> mean: array<f32>;      // [cols]
@group(0) @binding(4) var<storage, read> variance: array<f32>;  // [cols]
@group(0) @binding(5) var<storage, read> dy: array<f32>;        // [rows, cols]
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;  // [rows, cols], absent where no workgroup makes it
@group(0) @binding(7) var<storage, read_write> dw: array<f32>;  // [cols], absent unless columns
@group(0) @binding(8) var<storage, read_write> db: array<f32>;  // [cols], absent unless columns

const WG = 256u;
const COLUMNS = 8u;
const SLICES = WG / COLUMNS;
const TERMS = 64u;

//!tile WG COLUMNS
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg);
    if group < p.columns {
        make_columns(group * COLUMNS + lane % COLUMNS, lane);
        return;
    }
    let i = (group - p.columns) * WG + lane;
    if i < p.n {
        let c = i % p.cols;
        dx[i] = dy[i] * w[c] / sqrt(variance[c] + p.eps);
    }
}

fn make_columns(c: u32, lane: u32) {
    let column = min(c, p.cols - 1u);
    let center = mean[column];
    var total = vec2<f32>(0.0);
    for (var first = lane / COLUMNS * p.cols; first < p.n; first += SLICES * TERMS * p.cols) {
        let end = min(p.n, first + SLICES * TERMS * p.cols);
        var terms = vec2<f32>(0.0);
        for (var at = first; at < end; at += SLICES * p.cols) {
            let flow = dy[at + column];
            terms += vec2<f32>(flow * (x[at + column] - center), flow);
        }
        total += terms;
    }
    let sum_w = column_sum(lane, total.x) / sqrt(variance[column] + p.eps);
    let sum_b = column_sum(lane, total.y);
    if lane < COLUMNS && c < p.cols {
        dw[c] = sum_w;
        db[c] = sum_b;
    }
}
