// Package towers builds the structure of open_clip's models: an image tower, a
// text tower and the scale of their logits, each a struct of parameters that
// records itself on graphs. It needs no device and no memory for weights.
//
// A family of towers is one Family value in a file of its own; the list families
// names them all.
package towers

import (
	"fmt"
	"maps"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// Tower is one half of a model. Its parameters are the fields of the struct behind
// it, tagged with their names in open_clip's state dict.
type Tower interface {
	// Depth is the number of blocks, or stages, whose outputs can be had.
	Depth() int
	// Record declares the tower's inputs for batch items of length tokens (0 for
	// items of one fixed size) and runs the first depth blocks on them.
	Record(g *graph.Graph, batch, length, depth int) Recorded
	// BlockOptions refuses what the tower cannot do and returns what it makes of
	// the rest.
	BlockOptions(o BlockOptions) (BlockOptions, error)
	// Adapt changes a state dict as open_clip does before loading it. stored is the
	// config that the checkpoint came with.
	Adapt(m weights.Map, stored *config.Config) error
}

// Recorded is a tower on a graph, up to its last recorded block.
type Recorded struct {
	// Outputs records what follows from the last block.
	Outputs func() Outputs
	// Block records the output of block i, through the tower's final norm with
	// normalize. It is nil where BlockOptions refuses all.
	Block func(i int, normalize bool) Block
}

// Outputs are what a tower computes, by name. All have Features, [batch,
// embed_dim], or [batch, tokens, embed_dim] where the tower does not pool.
type Outputs map[string]graph.Tensor

// Names of outputs and of the input that is images [n, 3, height, width].
const (
	Features      = "features"       // what images and texts are compared by
	ImageFeatures = "image_features" // those of images, among the outputs of a model
	TextFeatures  = "text_features"
	ImageTokens   = "image_tokens" // as TextTokens, of towers that give them
	TextTokens    = "text_tokens"
	Logits        = "logits" // of the decoder: [batch, tokens, vocabulary]
	Image         = "image"
)

// Block is the output of one block.
type Block struct {
	Tokens  graph.Tensor // [batch, height, width, channels] of images, [batch, tokens, width] of texts
	Special graph.Tensor // [batch, tokens, width]: class tokens and registers; absent where there are none
}

// Batch is a number of items for a tower.
type Batch struct {
	Items  int
	Length int                             // tokens of each, as Record takes it; without items one that it takes
	Feed   func(lo, hi int) map[string]any // the inputs that Record declares, for items lo to hi
	// Grid is how many rows and columns of tokens each image has, where the tower's blocks
	// do not tell: 1 row where images differ.
	Grid config.Size
}

// With is items with the inputs of both.
func (b Batch) With(other Batch) Batch {
	return Batch{Items: b.Items, Feed: func(lo, hi int) map[string]any {
		feed := b.Feed(lo, hi)
		maps.Copy(feed, other.Feed(lo, hi))
		return feed
	}}
}

// Lengths are the Length of batches of both towers.
type Lengths struct{ Image, Text int }

// Array is a shape and its elements in row-major order.
type Array struct {
	Shape []int
	Data  []float32
}

// ImageTower is a Tower of images.
type ImageTower interface {
	Tower
	// Images checks what images consist of, by name: Image of towers that take images of
	// one size.
	Images(inputs map[string]Array) (Batch, error)
	// Example is a batch of n images, of zeros, that are as long as most.
	Example(n int) Batch
}

// BlockOptions are those arguments of open_clip's forward_intermediates that
// towers understand differently.
type BlockOptions struct {
	StopEarly bool   // end at the last chosen block
	Normalize bool   // apply the tower's final norm to the blocks' outputs
	Format    string // NCHW or NLC
}

// TextTower is a Tower of token ids.
type TextTower interface {
	Tower
	// Texts checks rows of token ids of one length: that of the context with full,
	// at most that without.
	Texts(rows [][]int32, full bool) (Batch, error)
}

// pixels is the input of towers that take images of one size.
type pixels struct{ size config.Size }

func (p pixels) input(g *graph.Graph, batch int) graph.Tensor {
	return g.Input(Image, graph.Shape{batch, 3, p.size[0], p.size[1]}, graph.F32)
}

// Example implements ImageTower.
func (p pixels) Example(n int) Batch { return p.batch(n, make([]float32, n*p.item())) }

// item is how many values an image has.
func (p pixels) item() int { return 3 * p.size[0] * p.size[1] }

// batch is n images, whose values are data.
func (p pixels) batch(n int, data []float32) Batch {
	return Batch{
		Items: n,
		Feed:  func(lo, hi int) map[string]any { return map[string]any{Image: data[lo*p.item() : hi*p.item()]} },
	}
}

// Images implements ImageTower.
func (p pixels) Images(inputs map[string]Array) (Batch, error) {
	if _, ok := inputs[Image]; !ok || len(inputs) > 1 {
		return Batch{}, fmt.Errorf("%w: the image tower is given %q, want %q", check.ErrInput, slices.Sorted(maps.Keys(inputs)), []string{Image})
	}
	shape, data := inputs[Image].Shape, inputs[Image].Data
	if len(shape) != 4 || shape[1] != 3 || shape[2] != p.size[0] || shape[3] != p.size[1] {
		return Batch{}, fmt.Errorf("%w: images of shape %v, want [n 3 %d %d]", check.ErrInput, shape, p.size[0], p.size[1])
	}
	return p.batch(shape[0], data), check.Rows("images", shape, len(data), p.item())
}
