"""Tables, plots and the page one listens to."""
