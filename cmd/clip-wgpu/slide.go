//go:build glfw || darwin || windows

package main

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	xdraw "golang.org/x/image/draw"

	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

var (
	background = color.NRGBA{0x18, 0x1a, 0x1f, 0xff}
	barTrack   = color.NRGBA{0x2c, 0x30, 0x38, 0xff}
	barFill    = color.NRGBA{0x4c, 0x9a, 0xff, 0xff}
	textColor  = color.NRGBA{0xe6, 0xe8, 0xec, 0xff}
)

// drawSlide draws picture, as large as it fits, over a row for each answer:
// label, bar, probability.
func drawSlide(size image.Point, picture image.Image, answers []answer) *scene.Scene {
	frame := &scene.Scene{Size: size, Background: background}
	row := max(8, min(size.X, size.Y)/22)
	font := scene.Font{Size: 0.62 * float64(row)}
	margin := row / 2
	rows := image.Rectangle{Max: size}.Inset(margin)
	rows.Min.Y = rows.Max.Y - row*len(answers)
	above := image.Rectangle{Max: size}.Inset(margin)
	above.Max.Y = rows.Min.Y - margin
	if at := fit(picture.Bounds().Size(), above); !at.Empty() {
		scaled := image.NewRGBA(image.Rectangle{Max: at.Size()})
		xdraw.CatmullRom.Scale(scaled, scaled.Rect, picture, picture.Bounds(), draw.Src, nil)
		frame.Picture(at, scaled, 0)
	}
	for i, a := range answers {
		at := image.Rect(rows.Min.X, rows.Min.Y+i*row, rows.Max.X, rows.Min.Y+(i+1)*row)
		drawAnswer(frame, at, font, a)
	}
	return frame
}

// fit returns the largest rectangle that has size's proportions and lies within bounds, in
// their middle.
func fit(size image.Point, bounds image.Rectangle) image.Rectangle {
	if bounds.Empty() {
		return image.Rectangle{}
	}
	w, h := bounds.Dx(), bounds.Dy()
	if size.X*h > size.Y*w {
		h = max(1, size.Y*w/size.X)
	} else {
		w = max(1, size.X*h/size.Y)
	}
	corner := bounds.Min.Add(bounds.Size().Sub(image.Pt(w, h)).Div(2))
	return image.Rectangle{corner, corner.Add(image.Pt(w, h))}
}

func drawAnswer(frame *scene.Scene, at image.Rectangle, font scene.Font, a answer) {
	label, bar, percent := at, at, at
	label.Max.X = at.Min.X + at.Dx()*2/5
	bar.Min = label.Max.Sub(image.Pt(0, at.Dy()*4/5))
	bar.Max = at.Max.Sub(image.Pt(at.Dy()*3, at.Dy()/5))
	frame.Text(label, font, textColor, font.Shorten(oneLine(a.Label), label.Dx()-at.Dy()/2))
	frame.Fill(bar, barTrack, 0)
	bar.Max.X = bar.Min.X + int(float64(a.Probability)*float64(bar.Dx())+0.5)
	frame.Fill(bar, barFill, 0)
	text := fmt.Sprintf("%.1f %%", 100*a.Probability)
	percent.Min.X = percent.Max.X - font.Width(text)
	frame.Text(percent, font, textColor, text)
}
