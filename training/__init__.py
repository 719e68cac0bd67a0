"""What train.py needs beside its loop, and the run folder that it leaves behind."""
