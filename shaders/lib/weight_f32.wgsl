// A weight in float32: a block is four vec4, one for each k.
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;

// A step is what one vec4 of a block meets: one number of a row of x.
const STEP = 1u;
alias Step = f32;
alias Rows = vec4<f32>;

// rows_w(block, part) are the block's rows of a step, columns_w(block, part) its columns.
fn rows_w(block: u32, part: u32) -> Rows { return w[4u * block + part]; }

fn columns_w(block: u32, part: u32) -> Rows {
    let at = 4u * block;
    return vec4<f32>(w[at][part], w[at + 1u][part], w[at + 2u][part], w[at + 3u][part]);
}

// add_step(sum, v, rows) = sum + v · rows
fn add_step(sum: vec4<f32>, v: Step, rows: Rows) -> vec4<f32> { return fma(vec4<f32>(v), rows, sum); }

// scale_step(v, block, part) are v by the scales of their n.
fn scale_step(v: Step, block: u32, part: u32) -> Step { return v; }

// load_w(block)[k][n] is an element of a block, before its scale.
fn load_w(block: u32) -> mat4x4<f32> {
    let at = 4u * block;
    return mat4x4<f32>(w[at], w[at + 1u], w[at + 2u], w[at + 3u]);
}

// row_w(block, k)[n] is an element of a block, before its scale, as load_w(block)[k][n].
fn row_w(block: u32, k: u32) -> vec4<f32> { return w[4u * block + k]; }

// column_w(block, n)[k] is that element, too.
fn column_w(block: u32, n: u32) -> vec4<f32> { return columns_w(block, n); }

// scale_w(block) are the scales of four n.
fn scale_w(block: u32) -> vec4<f32> { return vec4<f32>(1.0); }
