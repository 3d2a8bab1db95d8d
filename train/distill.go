package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// Teacher is a model that another is trained to resemble; those of package clip are
// such. It takes the same images and texts.
type Teacher interface {
	EncodeImage(ctx context.Context, images clip.Array, normalize bool) (clip.Array, error)
	EncodeText(ctx context.Context, texts [][]int32, normalize bool) (clip.Array, error)
	LogitScale() float32
	Config() config.Config
}

// DistillClipLoss is ClipLoss and, added to it as open_clip_train does, the cross entropy
// of the teacher's probabilities and the model's, of images among texts and of texts
// among images: open_clip's DistillClipLoss. As there, a logit bias takes no part.
type DistillClipLoss struct{ Teacher Teacher }

var errNoTeacher = fmt.Errorf("%w: DistillClipLoss wants a Teacher", clip.ErrInput)

// Record implements Loss.
func (l DistillClipLoss) Record(g *graph.Graph, f Features) graph.Tensor {
	if l.Teacher == nil {
		g.Fail("%w", errNoTeacher)
		return graph.Tensor{}
	}
	n, width := f.Image.Dim(0), l.Teacher.Config().EmbedDim
	f.LogitBias = graph.Tensor{}
	teacher := Features{
		Image:      g.Input("teacher_image", graph.Shape{n, width}, graph.F32),
		Text:       g.Input("teacher_text", graph.Shape{n, width}, graph.F32),
		LogitScale: g.Input("teacher_scale", graph.Shape{1}, graph.F32),
	}
	labels := g.Input("labels", graph.Shape{n}, graph.I32)
	direction := func(of func(f Features) graph.Tensor) graph.Tensor {
		logits := of(f)
		return g.Add(ops.CrossEntropy(g, logits, labels), ops.SoftCrossEntropy(g, logits, ops.Softmax(g, of(teacher))))
	}
	images := direction(func(f Features) graph.Tensor { return f.logits(g, f.Image, f.Text) })
	texts := direction(func(f Features) graph.Tensor { return f.logits(g, f.Text, f.Image) })
	return ops.Scale(g, g.Add(images, texts), 0.5)
}

// Inputs implements Loss: what the teacher makes of the batch. Its errors are the
// teacher's; one whose features are no [n, embed_dim] gives clip.ErrInput.
func (l DistillClipLoss) Inputs(ctx context.Context, b Batch) (map[string]any, error) {
	if l.Teacher == nil {
		return nil, errNoTeacher
	}
	in, err := ClipLoss{}.Inputs(ctx, b)
	want := []int{len(b.Texts), l.Teacher.Config().EmbedDim}
	put := func(name string, x clip.Array, failure error) {
		if err == nil {
			err = failure
		}
		if err == nil && !slices.Equal(x.Shape, want) {
			err = fmt.Errorf("%w: the %s features are %v, want %v", clip.ErrInput, name, x.Shape, want)
		}
		in[name] = x.Data
	}
	images, failure := l.Teacher.EncodeImage(ctx, b.Images, true)
	put("teacher_image", images, failure)
	texts, failure := l.Teacher.EncodeText(ctx, b.Texts, true)
	put("teacher_text", texts, failure)
	in["teacher_scale"] = []float32{l.Teacher.LogitScale()}
	return in, err
}
