//go:build glfw || darwin || windows

package main

import (
	"image"
	"image/color"
	"image/draw"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// plain is a picture of one colour.
func plain(width, height int, c color.Color) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(img, img.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	return img
}

// drawn is what the GPU makes of a slide.
func drawn(t *testing.T, s *scene.Scene) *image.RGBA {
	t.Helper()
	d, err := gpu.Open(gpu.Options{})
	require.NoError(t, err)
	defer d.Close()
	frame, err := scene.Render(t.Context(), d, s)
	require.NoError(t, err)
	assert.Equal(t, s.Size, frame.Rect.Size())
	assert.True(t, frame.Opaque())
	return frame
}

// area is where frame has a colour: the bounds, and how many pixels.
func area(frame *image.RGBA, c color.Color) (bounds image.Rectangle, n int) {
	for y := range frame.Rect.Dy() {
		for x := range frame.Rect.Dx() {
			if frame.At(x, y) == c {
				bounds = bounds.Union(image.Rect(x, y, x+1, y+1))
				n++
			}
		}
	}
	return bounds, n
}

func TestSlideShowsThePictureWhole(t *testing.T) {
	red := color.RGBA{0xff, 0, 0, 0xff}
	for name, c := range map[string]struct{ picture, want image.Point }{
		"square":    {image.Pt(10, 10), image.Pt(583, 583)},
		"wide":      {image.Pt(3000, 1000), image.Pt(770, 256)},
		"tall line": {image.Pt(1, 700), image.Pt(1, 583)},
	} {
		t.Run(name, func(t *testing.T) {
			frame := drawn(t, drawSlide(image.Pt(800, 690), plain(c.picture.X, c.picture.Y, red), []answer{{"a", 1}, {"b", 0}}))
			bounds, n := area(frame, red)
			assert.Equal(t, c.want, bounds.Size())
			assert.Equal(t, c.want.X*c.want.Y, n)
			assert.InDelta(t, 400, bounds.Min.Add(bounds.Max).Div(2).X, 1, "in the middle")
		})
	}
}

func TestBarsAreAsLongAsProbable(t *testing.T) {
	picture := plain(4, 4, color.White)
	lengths := map[float32]int{}
	for _, p := range []float32{0, 0.25, 0.5, 1} {
		frame := drawn(t, drawSlide(image.Pt(800, 700), picture, []answer{{strings.Repeat("long ", 100), p}}))
		bar, n := area(frame, color.RGBA(barFill))
		track, _ := area(frame, color.RGBA(barTrack))
		assert.Equal(t, bar.Dx()*bar.Dy(), n, "nothing written over it")
		lengths[p] = bar.Dx()
		if p == 0 {
			lengths[1] = track.Dx()
		}
	}
	assert.Zero(t, lengths[0])
	assert.Greater(t, lengths[1], 300)
	assert.InDelta(t, float64(lengths[1])/2, lengths[0.5], 1)
	assert.InDelta(t, float64(lengths[1])/4, lengths[0.25], 1)
}

func TestSlidesOfAnySize(t *testing.T) {
	for _, size := range []image.Point{{1, 1}, {20, 2000}, {2000, 20}, {97, 53}} {
		for _, picture := range []image.Point{{1, 1}, {1, 5000}, {5000, 1}} {
			drawn(t, drawSlide(size, plain(picture.X, picture.Y, color.White), make([]answer, maxBars)))
		}
	}
}

func TestSlideshowKeepsTheBestAnswers(t *testing.T) {
	var stdout strings.Builder
	answers := make([]answer, 100)
	answers[0] = answer{"piz\tza" + strings.Repeat("!", 1000), 0.987}
	s := &slideshow{answerWriter: &table{w: &stdout}}
	require.NoError(t, s.write(example("pizza"), answers))
	assert.Contains(t, stdout.String(), "98.7 %")
	require.Len(t, s.slides[0].answers, maxBars)
	_, title, err := s.frame(0, image.Pt(50, 50))
	require.NoError(t, err)
	assert.Equal(t, "piz\uFFFDza"+strings.Repeat("!", 94)+" 98.7 % - pizza.png (1 of 1)", title)

	s.slides = append(s.slides, slide{"gone.png", answers})
	_, _, err = s.frame(1, image.Pt(50, 50))
	assert.ErrorContains(t, err, "gone.png")
}

func TestShowWithoutDisplay(t *testing.T) {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		t.Skip("there is always one")
	}
	t.Setenv("DISPLAY", "")
	o := program(t, "classify", example("pizza"), "--labels", "pizza,rose", "--show")
	assert.Equal(t, exitFailure, o.code)
	assert.Contains(t, o.stdout, "pizza.png")
	assert.Regexp(t, `^clip-wgpu: cannot open a window: .+\n$`, o.stderr)
}

func TestDemoWithoutDisplayOrIndex(t *testing.T) {
	program(t, "demo", "--index", t.TempDir()+"/none.db").requireFailure(t, exitUsage, "none.db", "clip-wgpu index")
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		t.Skip("there is always a display")
	}
	t.Setenv("DISPLAY", "")
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	o := program(t, "demo")
	assert.Equal(t, exitFailure, o.code)
	assert.Regexp(t, `^clip-wgpu: cannot open a window: .+\n$`, o.stderr)
}
