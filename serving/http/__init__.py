"""What a request meets before and after the model: connections, bodies, images, endpoints and refusals."""
