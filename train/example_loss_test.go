package train_test

import (
	"context"
	"fmt"
	"log"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/ops"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// cosineDistance is the mean of 1 − cos of a pair's image and text, each pair with a
// weight of its own.
type cosineDistance struct{ weights []float32 }

// Record computes 1 − Σ weights · cos, as the weights add up to 1.
func (cosineDistance) Record(g *graph.Graph, f train.Features) graph.Tensor {
	weights := g.Input("weights", graph.Shape{f.Image.Dim(0)}, graph.F32)
	similar := ops.SumAxis(g, ops.Mul(g, f.Image, f.Text), 1) // [n]: features are unit vectors
	return g.Add(g.Fill(1), ops.Scale(g, ops.Sum(g, ops.Mul(g, weights, similar)), -1))
}

func (l cosineDistance) Inputs(_ context.Context, b train.Batch) (map[string]any, error) {
	if len(l.weights) != len(b.Texts) {
		return nil, fmt.Errorf("%d weights for %d pairs", len(l.weights), len(b.Texts))
	}
	return map[string]any{"weights": l.weights}, nil
}

// A loss of one's own, at a rate that falls to 0.
func ExampleLoss() {
	ctx := context.Background()
	model, err := clip.New(tinyConfig(), 42)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	c := train.DefaultConfig()
	c.Loss = cosineDistance{[]float32{0.5, 0.25, 0.25}}
	c.Optimizer = train.Scheduled{Optimizer: c.Optimizer, LR: train.CosineLR(2e-3, 2, 20)}
	trainer, err := train.New(model, c)
	if err != nil {
		log.Fatal(err)
	}
	defer trainer.Close()
	images, texts := tinyPairs(3)
	for step := range 20 {
		loss, err := trainer.Step(ctx, train.Batch{Images: images, Texts: texts})
		if err != nil {
			log.Fatal(err)
		}
		if step == 0 || step == 19 {
			fmt.Printf("loss before step %d: %.1f\n", step+1, loss)
		}
	}
	// Output:
	// loss before step 1: 0.6
	// loss before step 20: 0.0
}
