import json

import cv2
import numpy as np
import onnxruntime


def read(file: str, side: int, resize: str) -> np.ndarray:  # about["reading"] says it in words
    data = np.fromfile(file, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if data[:2].tobytes() == b"\xff\xd8":  # a JPEG; any other picture is read whole
        spare = min(pixels.shape[:2]) // side
        if spare >= 2:
            reduced = [cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_COLOR_8]
            pixels = cv2.imdecode(data, reduced[(spare >= 4) + (spare >= 8)])
    height, width = pixels.shape[:2]
    of_longest = [round(length * side / max(height, width)) for length in (height, width)]
    rows, columns = (side, side) if resize == "stretch" else of_longest
    shrinks = max(height / rows, width / columns) >= 2
    pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    square = np.zeros((side, side, 3), np.uint8)  # resize "pad": black round it
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = pixels
    return square[..., ::-1]  # OpenCV's BGR to RGB


session = onnxruntime.InferenceSession("model.onnx")
about = session.get_modelmeta().custom_metadata_map  # class names, thresholds, picture size, reading, ...
names, preprocessing = json.loads(about["class_names"]), json.loads(about["preprocessing"])
assert preprocessing.keys() == {"resize"}, about["reading"]  # there is more to be done than `read` does
picture = read("picture.jpg", int(about["image_size"]), preprocessing["resize"])
images = np.ascontiguousarray(picture.transpose(2, 0, 1))[None]  # (1, 3, S, S) uint8; any number of pictures at once
probabilities, decisions, attention = session.run(None, {"images": images})
for label, name in enumerate(names):
    row, column = np.unravel_index(attention[0, label].argmax(), attention.shape[2:])
    found = "present" if decisions[0, label] else "absent"
    print(f"{name}: {found} ({probabilities[0, label]:.4f}), looked at row {row}, column {column}")
