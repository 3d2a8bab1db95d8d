// A weight in 8-bit integers (packing.Q8): a block is one vec4 of quadruples, each for one k. The row of blocks
// after a panel's last holds the scales of its n in float32.
@group(0) @binding(2) var<storage, read> w: array<vec2<u32>>;

// A step is what one vec2 of a block meets: two numbers of a row of x.
const STEP = 2u;
alias Step = vec2<f32>;
alias Rows = mat2x4<f32>;

// rows_w(block, part) are the block's rows of a step, columns_w(block, part) its columns.
fn rows_w(block: u32, part: u32) -> Rows {
    let q = w[2u * block + part];
    return mat2x4<f32>(widen(q.x), widen(q.y));
}

fn columns_w(block: u32, part: u32) -> Rows {
    let q = vec4<u32>(w[2u * block], w[2u * block + 1u]) << vec4<u32>(16u * (1u - part));
    return mat2x4<f32>(vec4<f32>(bitcast<vec4<i32>>(q << vec4<u32>(8u))), vec4<f32>(bitcast<vec4<i32>>(q)));
}

// add_step(sum, v, rows) = sum + v · rows
fn add_step(sum: vec4<f32>, v: Step, rows: Rows) -> vec4<f32> {
    let x = fma(vec4<f32>(v.x), rows[0], sum);
    return fma(vec4<f32>(v.y), rows[1], x);
}

// scale_step(v, block, part) are v by the scales of their n.
fn scale_step(v: Step, block: u32, part: u32) -> Step {
    return v * 4.6932792e-10 * bitcast<vec2<f32>>(w[2u * block + part]);
}

// load_w(block)[k][n] is an element of a block, before its scale.
fn load_w(block: u32) -> mat4x4<f32> {
    let a = w[2u * block];
    let b = w[2u * block + 1u];
    return mat4x4<f32>(widen(a.x), widen(a.y), widen(b.x), widen(b.y));
}

// row_w(block, k)[n] is an element of a block, before its scale, as load_w(block)[k][n].
fn row_w(block: u32, k: u32) -> vec4<f32> {
    let q = w[2u * block + k / 2u];
    return widen(select(q.x, q.y, k % 2u == 1u));
}

// column_w(block, n)[k] is that element, too.
fn column_w(block: u32, n: u32) -> vec4<f32> {
    let q = vec4<u32>(w[2u * block], w[2u * block + 1u]) << vec4<u32>(24u - 8u * n);
    return vec4<f32>(bitcast<vec4<i32>>(q));
}

// widen(q)[n] is byte n of q and, as its fraction, the bytes below it, times 2^24.
fn widen(q: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(q << 24u, q << 16u, q << 8u, q)));
}

// scale_w(block) are the scales of four n, 1 / (127 · 2^24) of the stored ones.
fn scale_w(block: u32) -> vec4<f32> {
    return 4.6932792e-10 * bitcast<vec4<f32>>(vec4<u32>(w[2u * block], w[2u * block + 1u]));
}
