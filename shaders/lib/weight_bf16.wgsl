// A weight in bfloat16, the upper half of a float32: a block is two vec4 of pairs, each for two k.
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;

// A step is what one vec4 of a block meets: two numbers of a row of x.
const STEP = 2u;
alias Step = vec2<f32>;
alias Rows = mat2x4<f32>;

// rows_w(block, part) are the block's rows of a step, columns_w(block, part) its columns.
fn rows_w(block: u32, part: u32) -> Rows {
    let q = w[2u * block + part];
    return mat2x4<f32>(widen(q.xy), widen(q.zw));
}

fn columns_w(block: u32, part: u32) -> Rows {
    let at = 2u * block;
    let q = vec4<u32>(w[at][part], w[at][part + 2u], w[at + 1u][part], w[at + 1u][part + 2u]);
    return mat2x4<f32>(bitcast<vec4<f32>>(q << vec4<u32>(16u)), bitcast<vec4<f32>>(q & vec4<u32>(0xffff0000u)));
}

// add_step(sum, v, rows) = sum + v · rows
fn add_step(sum: vec4<f32>, v: Step, rows: Rows) -> vec4<f32> {
    let x = fma(vec4<f32>(v.x), rows[0], sum);
    return fma(vec4<f32>(v.y), rows[1], x);
}

// scale_step(v, block, part) are v by the scales of their n.
fn scale_step(v: Step, block: u32, part: u32) -> Step { return v; }

// load_w(block)[k][n] is an element of a block, before its scale.
fn load_w(block: u32) -> mat4x4<f32> {
    let a = w[2u * block];
    let b = w[2u * block + 1u];
    return mat4x4<f32>(widen(a.xy), widen(a.zw), widen(b.xy), widen(b.zw));
}

// row_w(block, k)[n] is an element of a block, before its scale, as load_w(block)[k][n].
fn row_w(block: u32, k: u32) -> vec4<f32> {
    let q = w[2u * block + k / 2u];
    return widen(select(q.xy, q.zw, k % 2u == 1u));
}

// column_w(block, n)[k] is that element, too.
fn column_w(block: u32, n: u32) -> vec4<f32> {
    let at = 2u * block;
    let q = vec4<u32>(w[at][n / 2u], w[at][n / 2u + 2u], w[at + 1u][n / 2u], w[at + 1u][n / 2u + 2u]) >> vec4<u32>(n % 2u * 16u);
    return bitcast<vec4<f32>>(q << vec4<u32>(16u));
}

fn widen(pairs: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(pairs.x << 16u, pairs.x & 0xffff0000u, pairs.y << 16u, pairs.y & 0xffff0000u));
}

// scale_w(block) are the scales of four n.
fn scale_w(block: u32) -> vec4<f32> { return vec4<f32>(1.0); }
