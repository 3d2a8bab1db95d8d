// NOTHING is a pair behind all that have an order.
const NOTHING = vec2<u32>(0u, 0xffffffffu);

// before(a, b, first) reports whether pair a, of an order and an index, is before b: by the greater order, the lower
// index, or else first.
fn before(a: vec2<u32>, b: vec2<u32>, first: bool) -> bool {
    return a.x > b.x || (a.x == b.x && (a.y < b.y || (a.y == b.y && first)));
}
