// dx[r,j] = rstd_r · (g − mean_j g − x̂ · mean_j(g · x̂)) + residual[r,j], g = dy[r,j] · w[j], x̂ = (x[r,j] − mean_r) · rstd_r
// dw[j] = Σ_r dy[r,j] · x̂, db[j] = Σ_r dy[r,j]; uncentered: of RMSNorm, without mean_j g
// The first workgroups make COLUMNS elements of dw and db each. SLICES invocations share a sum: each takes every
// SLICES-th row. It adds up TERMS terms at a time and then these sums, since the rounding error of a sum grows with its
// terms. Each of the other workgroups makes a row of dx.
//!use fold
//!use reduce
//!use columns
struct Params {
    rows: u32, cols: u32,
    columns: u32,  // workgroups that make dw and db
    has_w: u32, has_residual: u32, has_dw: u32, has_db: u32, uncentered: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                 // [rows, cols]
@group(0) @binding(2) var<storage, read> w: array<f32>;                 // [cols], absent unless has_w
@group(0) @binding(3) var<storage, read> statistics: array<vec2<f32>>;  // [rows]: mean and rstd
@group(0) @binding(4) var<storage, read> dy: array<f32>;                // [rows, cols]
@group(0) @binding(5) var<storage, read> residual: array<f32>;          // [rows, cols], absent unless has_residual
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;          // [rows, cols], absent where no workgroup makes it
@group(0) @binding(7) var<storage, read_write> dw: array<f32>;          // [cols], absent unless has_dw
@group(0) @binding(8) var<storage, read_write> db: array<f32>;          // [cols], absent unless has_db

const WG = 32u;  //!tune 32 128
const COLUMNS = 8u;
const SLICES = WG / COLUMNS;
const TERMS = 64u;

//!tile 1 COLUMNS
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg);
    if group < p.columns {
        make_columns(group * COLUMNS, lane);
    } else if group - p.columns < p.rows {
        make_row(group - p.columns, lane);
    }
}

fn make_columns(first: u32, lane: u32) {
    let j = first + lane % COLUMNS;
    let column = min(j, p.cols - 1u);
    var total = vec2<f32>(0.0);
    for (var row = lane / COLUMNS; row < p.rows; row += SLICES * TERMS) {
        let end = min(p.rows, row + SLICES * TERMS);
        var terms = vec2<f32>(0.0);
        for (var r = row; r < end; r += SLICES) {
            let flow = dy[r * p.cols + column];
            let unit = (x[r * p.cols + column] - statistics[r].x) * statistics[r].y;
            terms += vec2<f32>(flow * unit, flow);
        }
        total += terms;
    }
    let sum_w = column_sum(lane, total.x);
    let sum_b = column_sum(lane, total.y);
    if lane >= COLUMNS || j >= p.cols {
        return;
    }
    if p.has_dw != 0u {
        dw[j] = sum_w;
    }
    if p.has_db != 0u {
        db[j] = sum_b;
    }
}

fn make_row(row: u32, lane: u32) {
    let at = row * p.cols;
    let center = statistics[row].x;
    let scale = statistics[row].y;
    var sum = 0.0;
    var along = 0.0;
    for (var j = lane; j < p.cols; j += WG) {
        let g = weighted(at, j);
        sum += g;
        along = fma(g, (x[at + j] - center) * scale, along);
    }
    sum = select(workgroup_sum(lane, sum) / f32(p.cols), 0.0, p.uncentered != 0u);
    along = workgroup_sum(lane, along) / f32(p.cols);
    for (var j = lane; j < p.cols; j += WG) {
        let unit = (x[at + j] - center) * scale;
        var v = scale * (weighted(at, j) - sum - unit * along);
        if p.has_residual != 0u {
            v += residual[at + j];
        }
        dx[at + j] = v;
    }
}

fn weighted(at: u32, j: u32) -> f32 {
    if p.has_w != 0u {
        return dy[at + j] * w[j];
    }
    return dy[at + j];
}
