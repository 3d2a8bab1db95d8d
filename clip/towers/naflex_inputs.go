package towers

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/clip/posembed"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Names of what pictures of any size consist of: patches [n, length, height·width·3], each
// row by row with the channels last; their places [n, length, 2] in the picture's grid of
// patches, row and column; and which of them count, [n, length] of 0 and 1.
const (
	Patches    = "patches"
	PatchCoord = "patch_coord"
	PatchValid = "patch_valid"
)

// Sequence is how the image tower of a config that Check has passed takes pictures of any
// size, as Patches, PatchCoord and PatchValid: the size of a patch, and the most patches
// that preprocessing makes of a picture. False: it takes images of one size.
func Sequence(c *config.Config) (patch config.Size, most int, ok bool) {
	f, _ := lastOf(c, Visual)
	if f.Sequence == nil {
		return patch, 0, false
	}
	patch, most = f.Sequence(c)
	return patch, most, true
}

// naflexInputs are the graph inputs of the tower, f32.
type naflexInputs struct {
	patches graph.Tensor // [batch, length, patch]
	places  graph.Tensor // [batch, length, cells]: what each patch's position takes of each cell of the grid
	mask    graph.Tensor // [batch, 1, registers + length]: the least number where there is padding, else 0
	hidden  graph.Tensor // the same, but that it hides registers, too; with attention pooling
	shares  graph.Tensor // [batch, 1, registers + length]: of each patch in the mean; without
}

// declare declares the inputs of the tower, whose values feed supplies at every run.
func (t *naflexTower) declare(g *graph.Graph, batch, length int) naflexInputs {
	grid, tokens := t.cfg.PosEmbedGridSize, graph.Shape{batch, 1, t.cfg.RegTokens + length}
	in := naflexInputs{
		patches: g.Input(Patches, graph.Shape{batch, length, t.patch()}, graph.F32),
		places:  g.Input("patch_places", graph.Shape{batch, length, grid[0] * grid[1]}, graph.F32),
		mask:    g.Input("patch_mask", tokens, graph.F32),
	}
	switch {
	case t.AttnPool == nil:
		in.shares = g.Input("patch_shares", tokens, graph.F32)
	case t.cfg.RegTokens == 0:
		in.hidden = in.mask
	default:
		in.hidden = g.Input("patch_hidden", tokens, graph.F32)
	}
	return in
}

// patch is how many values a patch has.
func (t *naflexTower) patch() int { return t.cfg.PatchSize[0] * t.cfg.PatchSize[1] * 3 }

// naflexPicture is a picture's grid of patches and which patches of its sequence count.
type naflexPicture struct {
	grid  config.Size
	valid []bool
}

// feed gives the inputs but for the patches.
func (t *naflexTower) feed(pictures []naflexPicture) map[string]any {
	var places, mask, hidden, shares []float32
	for _, p := range pictures {
		places = append(places, posembed.Weights(t.cfg.PosEmbedGridSize, p.grid, t.cfg.PosEmbedInterp == "bilinear", len(p.valid))...)
		count := 0
		for _, ok := range p.valid {
			if ok {
				count++
			}
		}
		for range t.cfg.RegTokens {
			mask, hidden, shares = append(mask, 0), append(hidden, -math.MaxFloat32), append(shares, 0)
		}
		for _, ok := range p.valid {
			hides, share := float32(-math.MaxFloat32), float32(0)
			if ok {
				hides, share = 0, 1/float32(count)
			}
			mask, hidden, shares = append(mask, hides), append(hidden, hides), append(shares, share)
		}
	}
	feed := map[string]any{"patch_places": places, "patch_mask": mask}
	switch {
	case t.AttnPool == nil:
		feed["patch_shares"] = shares
	case t.cfg.RegTokens > 0:
		feed["patch_hidden"] = hidden
	}
	return feed
}

// batch is pictures of length patches. patches gives those of pictures lo to hi.
func (t *naflexTower) batch(pictures []naflexPicture, length int, patches func(lo, hi int) []float32) Batch {
	return Batch{Items: len(pictures), Length: length, Feed: func(lo, hi int) map[string]any {
		feed := t.feed(pictures[lo:hi])
		feed[Patches] = patches(lo, hi)
		return feed
	}}
}

// Example implements ImageTower. Images are of the size that they are trained with.
func (t *naflexTower) Example(n int) Batch {
	shape := []int{n, 3, t.image[0], t.image[1]}
	b, _ := t.images(Array{shape, make([]float32, graph.Shape(shape).Elems())})
	return b
}

// Images implements ImageTower.
func (t *naflexTower) Images(inputs map[string]Array) (Batch, error) {
	names := slices.Sorted(maps.Keys(inputs))
	switch {
	case slices.Equal(names, []string{Image}):
		return t.images(inputs[Image])
	case slices.Equal(names, []string{PatchCoord, PatchValid, Patches}):
		return t.sequences(inputs[Patches], inputs[PatchCoord], inputs[PatchValid])
	}
	return Batch{}, fmt.Errorf("%w: the image tower is given %q, want %q or %q", check.ErrInput, names,
		[]string{Image}, []string{Patches, PatchCoord, PatchValid})
}

// images takes images [n, 3, height, width] of one size apart.
func (t *naflexTower) images(x Array) (Batch, error) {
	s, p := x.Shape, t.cfg.PatchSize
	if len(s) != 4 || s[1] != 3 || s[2] < 1 || s[3] < 1 || s[2] > check.MaxSide || s[3] > check.MaxSide || s[2]%p[0] != 0 || s[3]%p[1] != 0 {
		return Batch{}, fmt.Errorf("%w: images of shape %v, want [n 3 height width], the height a multiple of %d and the width of %d, at most %d",
			check.ErrInput, s, p[0], p[1], check.MaxSide)
	}
	item := 3 * s[2] * s[3]
	if err := check.Rows("images", s, len(x.Data), item); err != nil {
		return Batch{}, err
	}
	grid := config.Size{s[2] / p[0], s[3] / p[1]}
	length := grid[0] * grid[1]
	one := naflexPicture{grid, slices.Repeat([]bool{true}, length)}
	b := t.batch(slices.Repeat([]naflexPicture{one}, s[0]), length, func(lo, hi int) []float32 {
		return t.patchify(x.Data[lo*item:hi*item], s[2], s[3])
	})
	b.Grid = grid
	return b, nil
}

// patchify turns images [n, 3, h, w] into patches [n, length, height, width, 3].
func (t *naflexTower) patchify(images []float32, h, w int) []float32 {
	p := t.cfg.PatchSize
	out := make([]float32, 0, len(images))
	for image := range slices.Chunk(images, 3*h*w) {
		for top := 0; top < h; top += p[0] {
			for left := 0; left < w; left += p[1] {
				for y := top; y < top+p[0]; y++ {
					for x := left; x < left+p[1]; x++ {
						at := y*w + x
						out = append(out, image[at], image[h*w+at], image[2*h*w+at])
					}
				}
			}
		}
	}
	return out
}

// sequences checks pictures as sequences of patches. As in timm the grid of a picture is
// as large as its places tell, and patch i lies in cell i of it.
func (t *naflexTower) sequences(patches, coord, valid Array) (Batch, error) {
	s, item := patches.Shape, t.patch()
	if len(s) != 3 || s[1] < 1 || s[1] > check.MaxSide || s[2] != item {
		return Batch{}, fmt.Errorf("%w: %s of shape %v, want [n length %d], the length at most %d", check.ErrInput, Patches, s, item, check.MaxSide)
	}
	for name, shapes := range map[string][2][]int{PatchCoord: {coord.Shape, {s[0], s[1], 2}}, PatchValid: {valid.Shape, {s[0], s[1]}}} {
		if !slices.Equal(shapes[0], shapes[1]) {
			return Batch{}, fmt.Errorf("%w: %s of shape %v, want %v", check.ErrInput, name, shapes[0], shapes[1])
		}
	}
	length := s[1]
	err := check.First(check.Rows(Patches, s, len(patches.Data), length*item),
		check.Rows(PatchCoord, coord.Shape, len(coord.Data), 2*length), check.Rows(PatchValid, valid.Shape, len(valid.Data), length))
	if err != nil {
		return Batch{}, err
	}
	pictures := make([]naflexPicture, s[0])
	for i := range pictures {
		if pictures[i], err = naflexPictureOf(coord.Data[2*i*length:2*(i+1)*length], valid.Data[i*length:(i+1)*length]); err != nil {
			return Batch{}, fmt.Errorf("%w: picture %d: %w", check.ErrInput, i, err)
		}
	}
	b := t.batch(pictures, length, func(lo, hi int) []float32 { return patches.Data[lo*length*item : hi*length*item] })
	b.Grid = config.Size{1, length}
	return b, nil
}

// naflexPictureOf reads the places of patches, and which of them count.
func naflexPictureOf(coord, valid []float32) (p naflexPicture, err error) {
	for i, v := range coord {
		if !(v >= 0 && v < check.MaxSide) || v != float32(int(v)) {
			return p, fmt.Errorf("%s has %v, want whole numbers of 0 to %d", PatchCoord, v, check.MaxSide-1)
		}
		p.grid[i%2] = max(p.grid[i%2], int(v)+1)
	}
	for _, v := range valid {
		if v != 0 && v != 1 {
			return p, fmt.Errorf("%s has %v, want 0 or 1", PatchValid, v)
		}
		p.valid = append(p.valid, v == 1)
	}
	if !slices.Contains(p.valid, true) {
		return p, fmt.Errorf("no patch is valid")
	}
	return p, nil
}
