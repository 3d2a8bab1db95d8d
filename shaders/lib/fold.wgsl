// group_index(wg) = wg.y · 32768 + wg.x
// Dispatches are one row of workgroups folded over (x, y): n groups go out as (n, 1) up to 32768
// and as (32768, ceil(n / 32768)) above, so the last row may run past n and every kernel guards its tail.
fn group_index(wg: vec3<u32>) -> u32 { return wg.y * 32768u + wg.x; }
