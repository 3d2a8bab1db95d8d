// A weight in IEEE 754 binary16: a block is two vec4 of pairs, each for two k.
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;

// A step is what one vec4 of a block meets: two numbers of a row of x.
const STEP = 2u;
alias Step = vec2<f32>;
alias Rows = mat2x4<f32>;

// rows_w(block, part) are the block's rows of a step, columns_w(block, part) its columns.
fn rows_w(block: u32, part: u32) -> Rows {
    let q = w[2u * block + part];
    return mat2x4<f32>(
        vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)),
        vec4<f32>(unpack2x16float(q.z), unpack2x16float(q.w)));
}

fn columns_w(block: u32, part: u32) -> Rows {
    let at = 2u * block;
    return transpose(mat4x2<f32>(
        unpack2x16float(w[at][part]), unpack2x16float(w[at][part + 2u]),
        unpack2x16float(w[at + 1u][part]), unpack2x16float(w[at + 1u][part + 2u])));
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
    return mat4x4<f32>(
        vec4<f32>(unpack2x16float(a.x), unpack2x16float(a.y)),
        vec4<f32>(unpack2x16float(a.z), unpack2x16float(a.w)),
        vec4<f32>(unpack2x16float(b.x), unpack2x16float(b.y)),
        vec4<f32>(unpack2x16float(b.z), unpack2x16float(b.w)));
}

// row_w(block, k)[n] is an element of a block, before its scale, as load_w(block)[k][n].
fn row_w(block: u32, k: u32) -> vec4<f32> {
    let q = w[2u * block + k / 2u];
    let pairs = select(q.xy, q.zw, k % 2u == 1u);
    return vec4<f32>(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}

// column_w(block, n)[k] is that element, too.
fn column_w(block: u32, n: u32) -> vec4<f32> {
    let at = 2u * block;
    let q = vec4<u32>(w[at][n / 2u], w[at][n / 2u + 2u], w[at + 1u][n / 2u], w[at + 1u][n / 2u + 2u]) >> vec4<u32>(n % 2u * 16u);
    return vec4<f32>(unpack2x16float(q.x).x, unpack2x16float(q.y).x, unpack2x16float(q.z).x, unpack2x16float(q.w).x);
}

// scale_w(block) are the scales of four n.
fn scale_w(block: u32) -> vec4<f32> { return vec4<f32>(1.0); }
