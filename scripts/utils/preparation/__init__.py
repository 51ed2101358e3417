"""From a file or a dataset to data/train.pth, val.pth and test.pth: what prepare_data.py does, task by task."""
