"""What tests share: built images, and the layouts and archives that hold them."""
