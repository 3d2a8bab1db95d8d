//go:build !amd64 || purego

package jpeg

func inverse8(blk *block, set columns, out []uint8, stride int) { inverse8Plain(blk, set, out, stride) }

func inverse4(blk *block, out []uint8, stride int) { inverse4Plain(blk, out, stride) }

func toRGB(dst, y, cb, cr []uint8) { toRGBPlain(dst, y, cb, cr) }

func double(dst, near, far []uint8, left, right uint64) { doublePlain(dst, near, far, left, right) }
